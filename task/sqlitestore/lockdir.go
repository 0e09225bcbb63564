package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// lockDir is the directory of the workers' lock files: one for each incarnation, locked by its
// process as long as it lives.
//
// The order of things is the whole point. A file is locked before its worker is registered, so that
// a registered worker whose file is not locked is dead. A neighbour tries it without making it.
// Only who holds its lock removes it, after the worker's row is gone, so that the name of a
// registered worker never means another file, or none.
type lockDir struct {
	dir  string
	boot string
	log  *slog.Logger
	// database is the file whose mode and owner the directory and its files have.
	database fs.FileInfo
	// waiters is the file of waiters.go; nil where files cannot be locked.
	waiters *os.File

	mu   sync.Mutex
	held map[string]*os.File
}

func openLockDir(dir string, database fs.FileInfo, log *slog.Logger) (*lockDir, error) {
	d := &lockDir{dir: dir, boot: bootID(), log: log, database: database, held: make(map[string]*os.File)}
	if !canLock || d.boot == "" {
		d.boot = ""
		log.Warn("files cannot be locked on this system: a dead worker's tasks are taken over only when its lease has run out")
		return d, nil
	}
	err := d.make()
	if err == nil {
		d.waiters, err = d.open(filepath.Join(dir, notifyFile), os.O_RDONLY|os.O_CREATE)
	}
	if err != nil {
		return nil, fmt.Errorf("directory of the workers' locks: %w", err)
	}
	return d, nil
}

// make makes the directory, or lets it follow the mode of the database.
func (d *lockDir) make() error {
	err := os.Mkdir(d.dir, 0o700)
	if err == nil {
		likeOwner(d.dir, d.database)
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(d.dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory: remove it", d.dir)
	}
	if mode := dirMode(d.mode()); info.Mode().Perm() != mode {
		_ = os.Chmod(d.dir, info.Mode()&(fs.ModeSetgid|fs.ModeSticky)|mode) // Store.CheckPermissions tells
	}
	return nil
}

// mode is that of a file in the directory.
func (d *lockDir) mode() fs.FileMode { return d.database.Mode().Perm()&0o666 | 0o600 }

// open opens a file in the directory, or makes it.
func (d *lockDir) open(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, d.mode())
	if err == nil {
		setMode(f, d.mode())
		likeOwner(path, d.database)
	}
	return f, err
}

// notifyFile is the file in the lock directory that a process touches when it has done something
// that others may want to know. It is the waiters' file, too.
const notifyFile = "notify"

// stopFile is the file in the lock directory that a process touches when a worker of it has
// announced its stop.
const stopFile = "stop"

// notify wakes the waiting calls of other processes.
func (d *lockDir) notify() { d.notifyOf(notifyFile) }

func (d *lockDir) path(worker string) string { return filepath.Join(d.dir, worker+".lock") }

const (
	// takeFor bounds how long a worker that begins waits for a neighbour that has its lock, and
	// seizeFor how long one that reclaims does. Either would otherwise be refused by a neighbour that
	// only looks.
	takeFor  = 2 * time.Second
	seizeFor = 100 * time.Millisecond
	lockPoll = time.Millisecond
)

// take makes and locks a worker's file and returns the boot in which that happened; "" if there are
// no locks. Taking one that is held is nil.
func (d *lockDir) take(worker string) (boot string, err error) {
	if d.boot == "" {
		return "", nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[worker] != nil {
		return d.boot, nil
	}
	// A neighbour may have locked the new file for a moment, to look at it or to tidy it up. The one
	// who has the lock decides what becomes of the file: who took the file away meanwhile and made it
	// again would have the new one removed in place of the old one.
	for began := time.Now(); ; time.Sleep(lockPoll) {
		var f *os.File
		if f, err = d.open(d.path(worker), os.O_RDWR|os.O_CREATE); err != nil {
			break
		}
		err = lock(f, true)
		if err == nil && sameFile(f, d.path(worker)) {
			d.held[worker] = f
			return d.boot, nil
		}
		_ = f.Close() // nothing was written
		if err != nil && !errors.Is(err, errLocked) {
			err = errors.Join(err, ignoreMissing(os.Remove(d.path(worker)))) // nobody can lock it
			break
		}
		if time.Since(began) > takeFor {
			err = errLocked
			break
		}
	}
	return "", fmt.Errorf("lock file of worker %s: %w", worker, err)
}

// release lets go of a lock that this process holds, and with remove takes the file away first.
func (d *lockDir) release(worker string, remove bool) {
	d.mu.Lock()
	f := d.held[worker]
	delete(d.held, worker)
	d.mu.Unlock()
	if f == nil {
		return
	}
	var err error
	if remove && sameFile(f, d.path(worker)) {
		err = os.Remove(d.path(worker))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		d.log.Warn("lock file not tidied up", "error", err)
	}
}

// share returns another descriptor of a lock that this process holds.
func (d *lockDir) share(worker string) (*os.File, error) {
	if d.boot == "" {
		return nil, fmt.Errorf("lock of worker %s: files cannot be locked here: %w", worker, errors.ErrUnsupported)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.held[worker]
	if f == nil {
		return nil, fmt.Errorf("lock of worker %s: %w", worker, task.ErrWorkerGone)
	}
	return duplicate(f)
}

// life reports whether the process of a worker lives, from a lock taken in the given boot.
func (d *lockDir) life(worker, boot string) task.Liveness {
	if d.boot == "" || boot != d.boot {
		return task.LivenessUnknown
	}
	f, err := os.Open(d.path(worker))
	if err != nil {
		return task.LivenessUnknown
	}
	defer f.Close()
	switch err := lock(f, false); {
	case err == nil:
		return task.LivenessDead
	case errors.Is(err, errLocked):
		return task.LivenessAlive
	}
	return task.LivenessUnknown
}

// names lists the workers that have a file.
func (d *lockDir) names() []string {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".lock"); ok {
			names = append(names, name)
		}
	}
	return names
}

// close releases all locks; the files stay for those that reclaim.
func (d *lockDir) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for worker, f := range d.held {
		errs = append(errs, f.Close())
		delete(d.held, worker)
	}
	if d.waiters != nil {
		errs = append(errs, d.waiters.Close())
		d.waiters = nil
	}
	return errors.Join(errs...)
}

// seizure is the lock of a worker that is believed dead, held by the process that reclaims.
type seizure struct {
	dir  *lockDir
	file *os.File // nil: the lock was not to be had
	// locked: somebody else has it.
	locked bool
	path   string
}

// seizeSoon is seize for a worker that a look has found dead: another one that looks, or reclaims,
// may have the lock for a moment.
func (d *lockDir) seizeSoon(worker string) *seizure {
	for began := time.Now(); ; time.Sleep(lockPoll) {
		s := d.seize(worker)
		if s.held() || !s.locked || time.Since(began) > seizeFor {
			return s
		}
	}
}

// seize tries to take the lock of a worker, without waiting and without making the file.
func (d *lockDir) seize(worker string) *seizure {
	s := &seizure{dir: d, path: d.path(worker)}
	if d.boot == "" {
		return s
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return s
	}
	if err := lock(f, true); err != nil || !sameFile(f, s.path) {
		_ = f.Close() // nothing was written
		s.locked = errors.Is(err, errLocked)
		return s
	}
	s.file = f
	return s
}

func (s *seizure) held() bool { return s.file != nil }

// proves reports whether the seized lock shows that a worker is dead which took it in the given
// boot.
func (s *seizure) proves(boot string) bool { return s.file != nil && boot == s.dir.boot }

// remove takes the file away.
func (s *seizure) remove() {
	if s.file == nil {
		return
	}
	if err := ignoreMissing(os.Remove(s.path)); err != nil {
		s.dir.log.Warn("lock file not tidied up", "error", err)
	}
}

func (s *seizure) release() {
	if s.file != nil {
		_ = s.file.Close() // nothing was written
	}
}

// errLocked means that somebody else holds the lock.
var errLocked = errors.New("locked by another process")

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// sameFile reports whether the open file is still the one of that name.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
