package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Any user who can read the database can do harm: reading is enough to take a read lock, and such a
// lock on the right byte of the file -shm stops every write. So only its owner can read a new
// database, whatever the umask. An existing database keeps its mode, since its operator may share
// it with a group. The files next to it get the same mode: SQLite ensures that when it creates -wal
// and -shm.

// creating is held while a file is created. Closing a file releases every POSIX lock that this
// process has on it, so no other store may have opened the new file in between.
var creating sync.Mutex

// create creates the database file if it does not exist.
func create(path string) error {
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, writable)
	}
	setMode(f, 0o600)
	return f.Close()
}

// setMode sets the mode of an open file. Where that is impossible, as on a file system without
// modes or for a file of another user, CheckPermissions reports it.
func setMode(f *os.File, mode fs.FileMode) {
	if info, err := f.Stat(); err == nil && info.Mode().Perm() != mode {
		_ = f.Chmod(mode) // see above
	}
}

// followMode gives the mode of the database to SQLite's files next to it, if an earlier mode or an
// earlier program has left them with another one.
func followMode(path string, mode fs.FileMode) {
	for _, name := range []string{path + "-wal", path + "-shm"} {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && info.Mode().Perm() != mode {
			_ = os.Chmod(name, mode) // CheckPermissions reports it
		}
	}
}

// dirMode returns the mode of a directory that users who can read the database may enter.
func dirMode(file fs.FileMode) fs.FileMode { return file | file&0o444>>2 }

// CheckPermissions returns an error if users of this machine who are neither the owner of the
// database file nor in its group can read or write it or the files next to it. Reading is enough to
// do harm: to hold a lock that stops every write, and to see every payload. CheckPermissions does
// not check access control lists, and checks nothing on Windows.
func (s *Store) CheckPermissions() error {
	if !canLock {
		return nil
	}
	for dir := filepath.Dir(s.path); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o011 == 0 {
			return nil // no other user can enter this directory
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, name := range []string{s.path, s.path + "-wal", s.path + "-shm", s.locks.dir} {
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o006 != 0 {
			return fmt.Errorf("sqlitestore: %s has the mode %#o: every user of this machine can read it, and reading is enough to hold a lock that stops all writes: run chmod -R o= %s %s-*",
				name, info.Mode().Perm(), s.path, s.path)
		}
	}
	return nil
}
