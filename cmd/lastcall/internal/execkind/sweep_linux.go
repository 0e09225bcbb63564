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

// deadFolders opens the directories of runs that are dead: of a name that runs' directories have, of
// an owner of ours, and held by nobody. It holds them alone: whoever finds them too leaves them.
// use is called with each, and reports whether to go on.
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

// openDead opens the directory of a dead run, and returns nil if it is none.
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
	if errors.Is(err, unix.EACCES) && unlock(dir, name) == nil { // by a program that means ill
		d, err = openFolder(dir.Name() + "/" + name)
	}
	if err != nil {
		return nil, scarce(err)
	}
	if unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return d, nil
	}
	if mode := info.Mode().Perm(); mode != 0o700 {
		_ = d.Chmod(mode) // as its program had it, which lives
	}
	d.close()
	return nil, nil
}

// scarce is an error that is about this process: of one about a directory nobody needs to hear, it is
// gone or somebody else's.
func scarce(err error) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return err
	}
	return nil
}
