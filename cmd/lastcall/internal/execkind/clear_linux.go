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

// remove removes the directory with everything in it, wherever the program has moved it.
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

// unlist removes the directory itself, which is empty. If the program has moved it, a link or an
// empty directory that took its name is removed too.
func (d *folder) unlist() error {
	at := int(d.parent.Fd())
	var now unix.Stat_t
	err := unix.Unlinkat(at, d.name, unix.AT_REMOVEDIR)
	if err == nil && unix.Fstat(int(d.Fd()), &now) == nil && now.Nlink == 0 {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) {
		_ = unix.Unlinkat(at, d.name, 0) // this follows no link
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
	if err != nil {
		return err
	}
	// The program may have removed it.
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the program has moved it to %.200q: %w", path, err)
	}
	return nil
}

// clear removes the content of a directory. It needs two descriptors, however deep the directory
// is: it moves what is in a subdirectory up to the top, so nothing is ever two levels down.
func clear(top *os.File) error {
	r := riser{top: top, prefix: ".lastcall-" + rand.Text() + "-"}
	for {
		removed, err := sweep(top, r.drop)
		if removed == 0 {
			return err
		}
	}
}

// sweep removes the files of a directory, and calls take to remove its directories. It returns how
// many names it removed, and the error of one that it could not remove.
func sweep(dir *os.File, take func(name string) error) (removed int, failed error) {
	_ = dir.Chmod(0o700) // the program may have removed the permission
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	for {
		names, end := dir.Readdirnames(1024) // however many there are
		for _, name := range names {
			err := unix.Unlinkat(int(dir.Fd()), name, 0)
			if errors.Is(err, unix.EISDIR) {
				err = take(name)
			}
			if err == nil {
				removed++
			} else {
				failed = cmp.Or(failed, fmt.Errorf("%.100q: %w", name, err))
			}
		}
		if errors.Is(end, io.EOF) {
			return removed, failed
		}
		if end != nil {
			return removed, end
		}
	}
}

// riser moves the content of subdirectories up to the top, under names that are not in use.
type riser struct {
	top     *os.File
	prefix  string
	moved   int
	pending []int // the moved directories that are not yet dropped
}

// drop removes a directory of the top, and everything that is moved up from it.
func (r *riser) drop(name string) error {
	failed := r.dropOne(name)
	for len(r.pending) > 0 {
		last := len(r.pending) - 1
		next := r.pending[last]
		r.pending = r.pending[:last]
		failed = cmp.Or(failed, r.dropOne(r.name(next)))
	}
	return failed
}

// dropOne removes a directory of the top, and moves up the directories in it.
func (r *riser) dropOne(name string) error {
	dir, err := openUnlocked(r.top, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		removed, err := sweep(dir, func(name string) error { return r.bringUp(dir, name) })
		if err == nil {
			err = unix.Unlinkat(int(r.top.Fd()), name, unix.AT_REMOVEDIR)
		}
		// Reading a directory that changes meanwhile may miss some of its names.
		if removed == 0 || !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
}

func (r *riser) name(n int) string { return fmt.Sprint(r.prefix, n) }

func (r *riser) bringUp(dir *os.File, name string) error {
	to := r.name(r.moved + 1)
	err := unix.Renameat(int(dir.Fd()), name, int(r.top.Fd()), to)
	if errors.Is(err, unix.EACCES) { // a directory can be moved only if it is writable itself
		if err = unlock(dir, name); err == nil {
			err = unix.Renameat(int(dir.Fd()), name, int(r.top.Fd()), to)
		}
	}
	if err == nil {
		r.moved++
		r.pending = append(r.pending, r.moved)
	}
	return err
}

// openUnlocked opens a directory, even one that its owner may not read.
func openUnlocked(dir *os.File, name string) (*os.File, error) {
	f, err := openAt(dir, name, openDir, 0)
	if errors.Is(err, unix.EACCES) {
		if err = unlock(dir, name); err == nil {
			f, err = openAt(dir, name, openDir, 0)
		}
	}
	return f, err
}

// unlock gives the owner of a directory the rights to it. It does not follow a link.
func unlock(dir *os.File, name string) error {
	at, err := openAt(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", at.Fd()), 0o700)
}
