package pgtest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The data of a test's cluster is in memory, where the machine has room. A cluster is a thousand
// small files, and tests create and drop databases all the time. On ext4 that takes several times
// the processor time: for each new file ext4 looks for an inode that nobody has freed lately.

const (
	memory = "/dev/shm"
	// memoryRoom is free in the memory before a cluster begins there: some times what it needs.
	memoryRoom = 1 << 30
	// memoryPrefix begins the names of directories in the memory.
	memoryPrefix = "lastcall-pg-"
)

// inMemory is a directory in the memory. This process has its lock as long as it lives.
type inMemory struct {
	path string
	lock *os.File
}

// newInMemory creates a directory in the memory. It returns nil if there is no memory for files, or
// too little.
func newInMemory() *inMemory {
	var fs syscall.Statfs_t
	const tmpfs = 0x01021994
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Type != tmpfs || fs.Bavail*uint64(fs.Bsize) < memoryRoom { //nolint:gosec // a block has a size
		return nil
	}
	path, err := os.MkdirTemp(memory, memoryPrefix)
	if err != nil {
		return nil
	}
	lock, err := lockDir(path)
	if err != nil {
		_ = os.Remove(path)
		return nil
	}
	return &inMemory{path: path, lock: lock}
}

// remove removes the directory, if there is one.
func (m *inMemory) remove() error {
	if m == nil {
		return nil
	}
	return errors.Join(os.RemoveAll(m.path), m.lock.Close())
}

// lockDir locks a directory, or fails at once if a process has the lock.
func lockDir(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// clearMemory removes what processes have left that were killed. A directory that is new may be one
// that a process is about to lock.
func clearMemory(memory string) {
	all, _ := filepath.Glob(filepath.Join(memory, memoryPrefix+"*")) // the pattern is well formed
	for _, path := range all {
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if lock, err := lockDir(path); err == nil {
			_ = os.RemoveAll(path) // it may be another user's
			_ = lock.Close()
		}
	}
}
