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

// folder is a directory in which a program may do anything. It is opened before the program begins,
// and every name in it is looked up from its descriptor, so it stays the same directory wherever
// the program moves it. No call
//
//   - follows a link,
//   - waits for the other end of a pipe or of a file system,
//   - accepts anything but a regular file that belongs to the owner and has one name.
//
// os.Root would stay inside the directory too, but it follows links there, crosses mounts, and
// needs a descriptor for each level of what it removes.
type folder struct {
	*os.File
	parent *os.File
	name   string        // in parent
	owner  uint32        // of what the program writes
	user   *confine.User // that owner, nil for the server's own user
}

const (
	openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	// resolve keeps a look-up to the one name, whatever kind of file has it.
	resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
)

// makeFolder creates a directory with a random name, for this user alone. It also returns its path.
// The folder is held until it is closed.
func makeFolder(parent, prefix string) (*folder, string, error) {
	for {
		path := filepath.Join(parent, prefix+rand.Text())
		if err := os.Mkdir(path, 0o700); err != nil {
			return nil, "", err
		}
		f, err := openFolder(path)
		if err != nil {
			return nil, "", errors.Join(err, unix.Rmdir(path)) // rmdir needs no descriptor
		}
		if f.hold() {
			return f, path, nil
		}
		f.close() // a sweeping process took it for a dead run's
	}
}

// hold locks a directory. The lock shows that its run is alive, until this process and all others
// that have locked it have closed it. hold reports whether the directory still exists. On a file
// system without locks nothing is swept.
func (d *folder) hold() bool {
	if errors.Is(unix.Flock(int(d.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return false
	}
	var now unix.Stat_t
	return unix.Fstat(int(d.Fd()), &now) != nil || now.Nlink > 0
}

// openFolder opens a directory. It does not follow a link.
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

// openAt opens a name in a directory. If a kernel or a sandbox has no openat2, it uses openat,
// which does not notice mounts.
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

// errOdd says what a file must be to be read. A file that is not so was put there by the program.
var errOdd = errors.New("is no regular file of its own: write it to another file, without links, and rename that")

// look returns what kind of file a name is. It opens nothing, so it wakes no device and cannot
// block.
func (d *folder) look(name string) (os.FileInfo, error) {
	at, err := openAt(d.File, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, odd(name, err)
	}
	defer at.Close()
	return at.Stat()
}

// open opens a regular file for reading.
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

// checkOpened checks a file after it was opened by a name, since another file may have taken that
// name meanwhile. The file's one name must be this one: a file that had a second name has one name
// too, after the second was removed.
func (d *folder) checkOpened(f *os.File, name string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if d.plain(info) && !nameless(info) {
		if d.isOnlyName(name, info) {
			return nil
		}
		if info, err = f.Stat(); err != nil { // it was replaced; then it has no name
			return err
		}
	}
	if !d.plain(info) || !nameless(info) {
		return fmt.Errorf("%s %w", name, errOdd)
	}
	return nil
}

// isOnlyName reports whether a file has this name and no other. A program may give a file of
// somebody else this name and take it away again, all the time. The kernel counts the names before
// it forgets the one that is taken away, and meanwhile the file is found here with one name. The
// kernel does that with the directory locked, so each look is made after such a change has ended. A
// look may still meet the next change; eight in a row would have to meet one each.
func (d *folder) isOnlyName(name string, info os.FileInfo) bool {
	file, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	nobody := ".lastcall-" + rand.Text()
	for range 8 {
		// To find that there is no such name the kernel locks the directory. In a file system that is
		// read-only, for instance after an error of its disk, nobody changes names.
		if err := unix.Unlinkat(int(d.Fd()), nobody, 0); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EROFS) {
			return false
		}
		var now unix.Stat_t
		if err := unix.Fstatat(int(d.Fd()), name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil ||
			now.Dev != file.Dev || now.Ino != file.Ino || now.Nlink != 1 {
			return false
		}
	}
	return true
}

// nameless reports whether a file has no name any more.
func nameless(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// odd explains the error of a look-up that met a link or a mount.
func odd(name string, err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%s %w", name, errOdd)
	}
	return err
}

// plain reports whether a file is a regular file that belongs to the owner and has one name. It may
// also have none, if another file has taken its name since.
func (d *folder) plain(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && st.Uid == d.owner && st.Nlink <= 1
}

// write creates a file atomically, and replaces whatever has its name. Until then the file has a
// name that nobody can guess.
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
