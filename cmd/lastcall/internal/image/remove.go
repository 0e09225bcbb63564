package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// init takes over a process that was executed to remove an image: it has no main of its own.
func init() { //nolint:gochecknoinits // a test binary that unpacks has no main that could call it
	if os.Args[0] != removeCommand || len(os.Args) != 2 {
		return
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other end is closed, or its process gone
	if err := removeAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// removeAll removes a directory, even if directories in it deny access to their owner.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	if err := letIn(root, filepath.Base(dir)); err != nil {
		return err
	}
	return root.RemoveAll(filepath.Base(dir))
}

// letIn gives the owner access to a directory and to all directories below it.
func letIn(root *os.Root, dir string) error {
	if err := root.Chmod(dir, 0o700); err != nil {
		return err
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := letIn(root, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
