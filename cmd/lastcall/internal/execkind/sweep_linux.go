package execkind

import (
	"cmp"
	"errors"
	"io"
	"os"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"
)

// runName matches the names that makeFolder gives to runs' directories.
var runName = regexp.MustCompile("^" + runPrefix + "[A-Z2-7]{26}$")

// deadFolders opens the directories of dead runs: those with the name of a run's directory, of an
// owner of ours, that no process holds. It locks them exclusively, so another sweeping process
// skips them. It calls use with each, which returns whether to go on.
func deadFolders(parent string, ours func(uid uint32) bool, use func(*folder) bool) error {
	dir, err := os.Open(parent)
	if err != nil {
		return err
	}
	defer dir.Close() // only read
	var failed error
	for {
		names, end := dir.Readdirnames(1024)
		for _, name := range names {
			if !runName.MatchString(name) {
				continue
			}
			d, err := openDead(dir, name, ours)
			failed = cmp.Or(failed, err)
			if d != nil && !use(d) {
				return nil
			}
		}
		if errors.Is(end, io.EOF) {
			return failed
		}
		if end != nil {
			return end
		}
	}
}

// openDead opens the directory of a dead run. It returns nil if the directory is none.
func openDead(dir *os.File, name string, ours func(uid uint32) bool) (*folder, error) {
	at, err := openAt(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, scarce(err)
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !ours(st.Uid) {
		return nil, nil
	}
	d, err := openFolder(dir.Name() + "/" + name)
	// A malicious program may have removed the permission.
	if errors.Is(err, unix.EACCES) && unlock(dir, name) == nil {
		d, err = openFolder(dir.Name() + "/" + name)
	}
	if err != nil {
		return nil, scarce(err)
	}
	if unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return d, nil
	}
	if mode := info.Mode().Perm(); mode != 0o700 {
		_ = d.Chmod(mode) // restore the mode: its program is alive
	}
	d.close()
	return nil, nil
}

// scarce returns an error that is about this process, such as a lack of descriptors. It returns nil
// for an error about the directory, which is gone or belongs to somebody else: that is of no
// interest.
func scarce(err error) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return err
	}
	return nil
}
