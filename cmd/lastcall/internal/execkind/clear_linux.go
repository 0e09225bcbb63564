package execkind

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// remove removes the directory with all that is in it, wherever it is by now.
func (d *folder) remove() error {
	err := clear(d.File)
	if err == nil {
		err = d.unlist()
	}
	if err != nil {
		return fmt.Errorf("%s is left behind: %w", filepath.Join(d.parent.Name(), d.name), err)
	}
	return nil
}

// unlist removes the directory itself, which is empty. Where it was moved, a link or an empty
// directory that has its name is removed with it.
func (d *folder) unlist() error {
	at := int(d.parent.Fd())
	var now unix.Stat_t
	err := unix.Unlinkat(at, d.name, unix.AT_REMOVEDIR)
	if err == nil && unix.Fstat(int(d.Fd()), &now) == nil && now.Nlink == 0 {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) {
		_ = unix.Unlinkat(at, d.name, 0) // follows nothing
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
	if err != nil {
		return err
	}
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) { // gone, if the program has removed it
		return fmt.Errorf("the program has moved it to %.200q: %w", path, err)
	}
	return nil
}

// clear removes what is in a directory. However deep that is, it has two descriptors open: what is in
// a directory below is brought up, so that nothing is ever two levels down.
func clear(top *os.File) error {
	_ = top.Chmod(0o700) // the program may have taken the right away
	up := riser{top: top, prefix: ".lastcall-" + rand.Text() + "-"}
	return sweep(top, func(name string) error {
		if gone, err := unlink(top, name); gone || err != nil {
			return err
		}
		if err := up.empty(name); err != nil {
			return err
		}
		_, err := unlink(top, name)
		return err
	})
}

// sweep has every name of a directory removed, until none is left or none of them can be.
func sweep(dir *os.File, remove func(name string) error) error {
	for {
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		var failed error
		removed := 0
		for {
			names, err := dir.Readdirnames(1024) // however many there are
			for _, name := range names {
				if err := remove(name); err == nil {
					removed++
				} else {
					failed = cmp.Or(failed, fmt.Errorf("%.100q: %w", name, err))
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
		if removed == 0 {
			return failed
		}
	}
}

// unlink removes a name, and reports whether it is gone: a directory that is not empty stays.
func unlink(dir *os.File, name string) (gone bool, err error) {
	at := int(dir.Fd())
	if err = unix.Unlinkat(at, name, 0); errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
	}
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return true, nil
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return false, nil
	}
	return false, err
}

// riser brings up what is below a directory, under names that nobody has taken.
type riser struct {
	top    *os.File
	prefix string
	moved  int
}

// empty removes what is in a directory of the top, and brings up what is not empty itself.
func (r *riser) empty(name string) error {
	below, err := openAt(r.top, name, openDir, 0)
	if errors.Is(err, unix.EACCES) {
		if err = unlock(r.top, name); err == nil {
			below, err = openAt(r.top, name, openDir, 0)
		}
	}
	if err != nil {
		return err
	}
	defer below.Close()
	_ = below.Chmod(0o700)
	return sweep(below, func(name string) error {
		if gone, err := unlink(below, name); gone || err != nil {
			return err
		}
		r.moved++
		to := fmt.Sprint(r.prefix, r.moved)
		err := unix.Renameat(int(below.Fd()), name, int(r.top.Fd()), to)
		if errors.Is(err, unix.EACCES) { // a directory that moves must be writable itself
			if err = unlock(below, name); err == nil {
				err = unix.Renameat(int(below.Fd()), name, int(r.top.Fd()), to)
			}
		}
		return err
	})
}

// unlock gives its owner the rights to a directory, and follows no link to it.
func unlock(dir *os.File, name string) error {
	at, err := openAt(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", at.Fd()), 0o700)
}
