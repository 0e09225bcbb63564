//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const canLock = true

// lock takes a lock on an open file, exclusive or shared, without waiting, or returns errLocked. It
// never waits, because nothing could end the wait: neither a signal nor closing the file.
func lock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		}
		return err
	}
}

// unlock releases a lock and keeps the file open.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// likeOwner gives a file that root has created to the owner of the database, as SQLite does with
// its own files. So a command that root runs leaves nothing behind that the servers cannot use.
func likeOwner(path string, database fs.FileInfo) {
	owner, ok := database.Sys().(*syscall.Stat_t)
	if ok && os.Geteuid() == 0 && owner.Uid != 0 {
		_ = os.Lchown(path, int(owner.Uid), int(owner.Gid)) // the servers report what they cannot open
	}
}

// duplicate returns another descriptor of the same open file. A child process inherits it only if
// it is passed to it explicitly.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
