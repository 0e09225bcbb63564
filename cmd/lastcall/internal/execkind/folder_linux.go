package execkind

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
)

// folder is a directory in which a program does what it likes, opened before the program begins.
// Every name in it is looked up from its descriptor, so that it stays the same directory wherever
// the program moves it. No call follows a link, waits for whoever has a pipe's or a file system's
// other end, or takes what is no regular file of the owner's with one name.
//
// os.Root would stay inside the directory too; but it follows links there, crosses mounts, and takes
// a descriptor for each level of what it removes.
type folder struct {
	*os.File
	parent *os.File
	name   string        // in parent
	owner  uint32        // of what the program writes
	user   *confine.User // who that is, nil for the server's own
}

const (
	openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	// resolve keeps a look-up at one name, whatever stands there.
	resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
)

// makeFolder makes a directory of a random name, for this user alone, and returns its path, too. It is
// held until it is closed.
func makeFolder(parent, prefix string) (*folder, string, error) {
	for {
		path := filepath.Join(parent, prefix+rand.Text())
		if err := os.Mkdir(path, 0o700); err != nil {
			return nil, "", err
		}
		f, err := openFolder(path)
		if err != nil {
			return nil, "", errors.Join(err, unix.Rmdir(path)) // which takes no descriptor
		}
		if f.hold() {
			return f, path, nil
		}
		f.close() // somebody sweeps, and took it for a dead run's
	}
}

// hold locks a directory, as a sign that its run is alive, until this process and all others that
// have locked it have closed it. It reports whether the directory is still there. A file system
// without locks has nothing that could be swept.
func (d *folder) hold() bool {
	if errors.Is(unix.Flock(int(d.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return false
	}
	var now unix.Stat_t
	return unix.Fstat(int(d.Fd()), &now) != nil || now.Nlink > 0
}

// openFolder opens a directory that is no link.
func openFolder(path string) (*folder, error) {
	parent, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	dir, err := openAt(parent, name, openDir, 0)
	if err != nil {
		return nil, errors.Join(err, parent.Close())
	}
	return &folder{File: dir, parent: parent, name: name, owner: uint32(os.Geteuid())}, nil
}

func (d *folder) close() { _ = closeAll(d.File, d.parent) } // only read

// openAt opens a name in a directory. A kernel or a sandbox without openat2 has openat, which misses
// mounts.
func openAt(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode), Resolve: resolve}
	fd, err := unix.Openat2(int(dir.Fd()), name, &how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(int(dir.Fd()), name, flags, mode)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// errOdd says what a file must be to be read. What it is not, the program has put there.
var errOdd = errors.New("is no regular file of its own: write it to another file, without links, and rename that")

// look says what a name stands for. It opens nothing, so that it wakes no device and waits for nobody.
func (d *folder) look(name string) (os.FileInfo, error) {
	at, err := openAt(d.File, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, odd(name, err)
	}
	defer at.Close()
	return at.Stat()
}

// open opens a regular file to read it.
func (d *folder) open(name string) (*os.File, error) {
	if info, err := d.look(name); err != nil {
		return nil, err
	} else if !d.plain(info) {
		return nil, fmt.Errorf("%s %w", name, errOdd)
	}
	f, err := openAt(d.File, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, odd(name, err)
	}
	if err := d.checkOpened(f, name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkOpened checks a file that was opened by a name, since another one may have taken its place
// meanwhile. Its one name must be this one: another file's second name that was removed after the
// opening has left that file with one, too.
func (d *folder) checkOpened(f *os.File, name string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if d.plain(info) && !nameless(info) {
		now, err := d.look(name)
		if err == nil && os.SameFile(info, now) && d.plain(now) {
			return nil
		}
		if info, err = f.Stat(); err != nil { // it has been replaced, and has no name then
			return err
		}
	}
	if !d.plain(info) || !nameless(info) {
		return fmt.Errorf("%s %w", name, errOdd)
	}
	return nil
}

// nameless reports whether a file has no name any more.
func nameless(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// odd says what it means that a look-up met a link or a mount.
func odd(name string, err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%s %w", name, errOdd)
	}
	return err
}

// plain says whether a file is a regular one of the owner's, with one name or, if another has taken
// its place since, none.
func (d *folder) plain(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && st.Uid == d.owner && st.Nlink <= 1
}

// write makes a file that is there as a whole or not at all, in the place of what may have its name.
// The name that it has at first nobody can know.
func (d *folder) write(name string, content []byte) error {
	first := ".lastcall-" + rand.Text()
	f, err := openAt(d.File, first, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, d.own(f), f.Close()); err == nil {
		err = unix.Renameat(int(d.Fd()), first, int(d.Fd()), name)
	}
	if err != nil {
		_ = unix.Unlinkat(int(d.Fd()), first, 0)
	}
	return err
}

func (d *folder) mkdir(name string) error { return unix.Mkdirat(int(d.Fd()), name, 0o700) }
