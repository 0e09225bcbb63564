//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// addFiles adds the tricks that replace the files that server and shim read and write.
func addFiles(tricks map[string]trick) {
	tricks["fifo-as-stop-file"] = func() error {
		err := errors.Join(syscall.Mkfifo(stopFile(), 0o600), syscall.Mkfifo(stopFile()+".new", 0o600))
		if err != nil {
			return err
		}
		return endure()
	}
	tricks["fifo-as-checkpoint"] = func() error {
		_ = os.Remove(checkpoint()) // it does not exist in the first run
		if err := syscall.Mkfifo(checkpoint(), 0o600); err != nil {
			return err
		}
		return endure()
	}
	tricks["directory-as-files"] = func() error {
		_ = os.Remove(checkpoint())
		err := errors.Join(os.Mkdir(stopFile(), 0o700), os.Mkdir(stopFile()+".new", 0o700), os.MkdirAll(filepath.Join(checkpoint(), "x"), 0o700))
		if err != nil {
			return err
		}
		return endure()
	}
	tricks["link-to-device"] = func() error {
		_ = os.Remove(checkpoint())
		if err := os.Symlink("/dev/zero", checkpoint()); err != nil {
			return err
		}
		return endure()
	}
	// The checkpoint of these two is read at the end of the run.
	tricks["link-to-environment"] = func() error { return link("/proc/self/environ") }
	tricks["link-to-secret"] = func() error { return link(filepath.Join(attackDir(), "secret")) }
	tricks["link-to-victim"] = func() error {
		victim := filepath.Join(attackDir(), "victim")
		if err := errors.Join(os.Symlink(victim, stopFile()), os.Symlink(victim, stopFile()+".new")); err != nil {
			return err
		}
		return endure()
	}
}

// addDirectories adds the tricks against the run's directory.
func addDirectories(tricks map[string]trick) {
	tricks["other-directory"] = func() error {
		if err := errors.Join(os.Rename(runDir(), runDir()+".moved"), os.Symlink(filepath.Join(attackDir(), "precious"), runDir())); err != nil {
			return err
		}
		return errors.New("done")
	}
	tricks["no-directory"] = func() error {
		if err := os.RemoveAll(runDir()); err != nil {
			return err
		}
		return endure()
	}
	tricks["no-access"] = func() error {
		deep := filepath.Join(runDir(), "a", "b")
		if err := errors.Join(os.MkdirAll(deep, 0o700), os.WriteFile(filepath.Join(deep, "f"), nil, 0o600),
			os.Chmod(deep, 0), os.Chmod(filepath.Dir(deep), 0), os.Chmod(runDir(), 0)); err != nil {
			return err
		}
		return endure()
	}
	tricks["deep-directory"] = func() error {
		if err := os.Chdir(os.Getenv("TMPDIR")); err != nil {
			return err
		}
		begun()
		for range 3000 { // three times the limit of open files
			if err := errors.Join(os.Mkdir("d", 0o700), os.Chdir("d")); err != nil {
				return err
			}
		}
		return nil
	}
	tricks["many-files"] = func() error {
		begun()
		for n := range 20_000 {
			if err := os.WriteFile(filepath.Join(os.Getenv("TMPDIR"), strconv.Itoa(n)), nil, 0o600); err != nil {
				return err
			}
		}
		return endure()
	}
	tricks["huge-checkpoint"] = func() error {
		file, err := os.Create(checkpoint())
		if err != nil {
			return err
		}
		if err := errors.Join(file.Truncate(60<<20), file.Close()); err != nil {
			return err
		}
		return endure()
	}
	tricks["checkpoints-without-end"] = func() error {
		begun()
		for n := 0; ; n = (n + 1) % 10 {
			next := checkpoint() + ".mine"
			_ = os.WriteFile(next, make([]byte, n<<16), 0o600) // repeated in the next round
			_ = os.Rename(next, checkpoint())
		}
	}
}

func link(target string) error {
	_ = os.Remove(checkpoint())
	if err := os.Symlink(target, checkpoint()); err != nil {
		return err
	}
	return errors.New("done")
}
