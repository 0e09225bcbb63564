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
// process as long as that lives.
//
// The order of the steps is what makes it safe:
//
//   - A process locks the file before it registers the worker. So a registered worker whose file is
//     not locked is dead.
//   - Another process that tries the lock never creates the file.
//   - Only the process that holds the lock removes the file, and only after the worker's row is
//     gone. So the file of a registered worker always exists, and is never replaced by another one.
type lockDir struct {
	dir  string
	boot string
	log  *slog.Logger
	// database is the file whose mode and owner the directory and its files get.
	database fs.FileInfo
	// waiters is the file that waiters.go locks; nil where files cannot be locked.
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

// make creates the directory, or adapts its mode to that of the database.
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
		// Store.CheckPermissions reports it.
		_ = os.Chmod(d.dir, info.Mode()&(fs.ModeSetgid|fs.ModeSticky)|mode)
	}
	return nil
}

// mode returns the mode of a file in the directory.
func (d *lockDir) mode() fs.FileMode { return d.database.Mode().Perm()&0o666 | 0o600 }

// open opens or creates a file in the directory.
func (d *lockDir) open(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, d.mode())
	if err == nil {
		setMode(f, d.mode())
		likeOwner(path, d.database)
	}
	return f, err
}

// notifyFile is the file in the lock directory that a process touches when it has changed something
// that other processes may wait for. It is the waiters' file too.
const notifyFile = "notify"

// stopFile is the file in the lock directory that a process touches when one of its workers has
// announced its stop.
const stopFile = "stop"

// notify wakes the waiting calls of other processes.
func (d *lockDir) notify() { d.notifyOf(notifyFile) }

func (d *lockDir) path(worker string) string { return filepath.Join(d.dir, worker+".lock") }

const (
	// takeFor bounds how long a worker that starts waits for another process that has its lock.
	// seizeFor does the same for a process that reclaims. Otherwise a process that only tries the
	// lock for a moment would make them fail.
	takeFor  = 2 * time.Second
	seizeFor = 100 * time.Millisecond
	lockPoll = time.Millisecond
)

// take creates and locks a worker's file, and returns the boot in which that happened, or "" if
// files cannot be locked. If this process holds the lock already, take succeeds.
func (d *lockDir) take(worker string) (boot string, err error) {
	if d.boot == "" {
		return "", nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[worker] != nil {
		return d.boot, nil
	}
	// Another process may have locked the new file for a moment, to check it or to remove it. Only
	// the process that has the lock may remove the file: if this one removed and recreated the file
	// meanwhile, the other would remove the new file in place of the old one.
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
			err = errors.Join(err, ignoreMissing(os.Remove(d.path(worker)))) // no process can lock it
			break
		}
		if time.Since(began) > takeFor {
			err = errLocked
			break
		}
	}
	return "", fmt.Errorf("lock file of worker %s: %w", worker, err)
}

// release releases a lock that this process holds. With remove it removes the file first.
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

// share returns another descriptor for a lock that this process holds.
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

// life reports whether the process of a worker lives, whose lock was taken in the given boot.
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

// names returns the workers that have a file.
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

// close releases all locks. The files stay, for processes that reclaim.
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
	file *os.File // nil: the lock could not be taken
	// locked is true if another process holds the lock.
	locked bool
	path   string
}

// seizeSoon is seize for a worker that a check has found dead. It waits a moment, since another
// process that checks or reclaims may have the lock.
func (d *lockDir) seizeSoon(worker string) *seizure {
	for began := time.Now(); ; time.Sleep(lockPoll) {
		s := d.seize(worker)
		if s.held() || !s.locked || time.Since(began) > seizeFor {
			return s
		}
	}
}

// seize tries to take the lock of a worker, without waiting and without creating the file.
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

// proves reports whether the seized lock shows that a worker which took it in the given boot is
// dead.
func (s *seizure) proves(boot string) bool { return s.file != nil && boot == s.dir.boot }

// remove removes the file.
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

// errLocked means that another process holds the lock.
var errLocked = errors.New("locked by another process")

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// sameFile reports whether the open file is still the one with that name.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
