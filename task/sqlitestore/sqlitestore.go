// Package sqlitestore keeps tasks in a SQLite file: the embedded store, for one machine and any
// number of processes on it.
//
// # What is promised
//
// What Add, Claim and Apply have returned without an error survives SIGKILL and a power failure, as
// far as the disk keeps its promise to fsync: the file is in WAL mode with synchronous=FULL. The
// driver is modernc.org/sqlite, which is pure Go.
//
// # How a dead process is noticed
//
// Every worker holds a lock on a file of its own in the directory FILE-workers, from before it is
// registered until it has stopped. The kernel releases the lock when the process ends, however that
// happens. Other workers try the lock several times a second, and take over at once when it is
// free. A lock that was taken before the last boot of the machine is no evidence. Where files
// cannot be locked (Windows) there is no evidence at all: then a worker's tasks are taken over when
// its lease has run out.
//
// # Who may read the file
//
// Only its owner can read a new database, and the files next to it. Any user who can read a
// database can see every payload, and can hold a lock that stops all writes: see
// Store.CheckPermissions. An existing file keeps its mode, and the files next to it get the same
// mode.
//
// # Limits
//
// A network file system is refused: its locks and its memory mapping do not guarantee what SQLite
// needs. A process that is stopped (SIGSTOP, a debugger) in the middle of a write holds up every
// other one until it goes on or is killed. The others report "database is locked" after five
// seconds.
//
// The file, its -wal and its -shm must not be removed or replaced while they are open, also not by
// renaming a directory or changing a symbolic link. If that happens, every call fails from then on.
// No call that has returned without an error has written into the former file alone: what is
// written there is lost at the end of the process. The store can do nothing about a file that is
// overwritten in place (cp BACKUP FILE): stop all servers first.
//
// README.md in this folder shows the tables and a task's way through them.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Config has the settings of a store. Only Path is needed.
type Config struct {
	// Path is the database file. It is created if it does not exist, for its owner alone (0600,
	// whatever the umask); its directory must exist. The files next to it have the mode of the file.
	Path string
	// MustExist is for programs that only want to read. Open then creates nothing, and refuses a file
	// that does not exist or has no tables yet with an error that is fs.ErrNotExist.
	MustExist bool
	// Logger receives what the store cannot return as an error. Nil means slog.Default().
	Logger *slog.Logger
}

// Store is a [task.Store] in a SQLite file.
type Store struct {
	path  string
	file  os.FileInfo // the file that was opened
	files []openedFile
	log   *slog.Logger
	write *sql.DB // one connection, which the writer uses
	read  *sql.DB
	locks *lockDir
	now   func() time.Time

	reader   *prepared
	writer   writer
	routines sync.WaitGroup
	signals  storekit.Signals

	closing sync.Once
	closed  chan struct{}
	watch   *os.File // of the lock directory; nil where there is none
}

var _ task.Store = (*Store)(nil)

// Open opens the file, creates it if needed, and brings its schema up to date. It refuses a file on
// a network file system, a database of another program, and one that a newer version has made
// unreadable for this one. The caller closes the store once the workers and clients that use it are
// done.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Path == "" {
		return nil, errors.New("no path given: name a file, as in sqlite:/var/lib/lastcall/tasks.db")
	}
	if err := checkPlace(cfg.Path); err != nil {
		return nil, err
	}
	named, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, err
	}
	path, err := realPath(named)
	if err != nil {
		return nil, err
	}
	if err := checkPlace(path); err != nil {
		return nil, err
	}
	s := &Store{path: path, log: safelog.New(cfg.Logger), now: time.Now, closed: make(chan struct{})}
	former := &lockDir{dir: path + "-workers", boot: bootID(), log: s.log}
	holder := former.lockHeld()
	tables, err := look(ctx, path)
	_, missing := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, s.explain(err))
	case holder != "" && errors.Is(missing, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is not there, and %s: %s", path, former.holder(holder), strays)
	case !tables && cfg.MustExist:
		return nil, fmt.Errorf("%s: %w: there is no database with tasks yet", path, fs.ErrNotExist)
	}
	if err := create(path); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.disconnect())
	}
	if err := s.remember(named); err != nil {
		return nil, errors.Join(err, s.disconnect())
	}
	followMode(path, s.file.Mode().Perm())
	if s.locks, err = openLockDir(path+"-workers", s.file, s.log); err != nil {
		return nil, errors.Join(err, s.disconnect())
	}
	s.sweepLocks(ctx)
	s.routines.Go(s.writes)
	s.watchOthers()
	return s, nil
}

// connect opens the file for the writer and for readers.
func (s *Store) connect(ctx context.Context) (err error) {
	if s.write, err = sql.Open("sqlite", dsn(s.path, "_txlock=immediate&_pragma=cache_size(-16384)")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", dsn(s.path, "_pragma=query_only(1)")); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(4)
	s.reader = &prepared{prepare: s.read.PrepareContext, stmts: make(map[string]*sql.Stmt)}
	if err := migrate(ctx, s.write); err != nil {
		return fmt.Errorf("%s: %w", s.path, s.explain(err))
	}
	if _, err := s.read.ExecContext(ctx, statements["Tasks"]+" limit 0"); err != nil {
		return fmt.Errorf("%s: %w: the tables are not those of this program: was the file made by an unreleased version? name another one", s.path, err)
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, s.explain(err))
	}
	s.writer = writer{conn: conn, work: make(chan struct{}, 1),
		stmts: &prepared{prepare: conn.PrepareContext, stmts: make(map[string]*sql.Stmt)}}
	// From now on writers take turns (waiters.go), and SQLite must not wait in its own way.
	_, err = conn.ExecContext(ctx, `pragma busy_timeout = 0`)
	return err
}

// disconnect closes what connect has opened.
func (s *Store) disconnect() (err error) {
	if s.read != nil {
		err = errors.Join(s.reader.close(), s.read.Close())
	}
	if s.writer.conn != nil {
		if s.strayed() != nil {
			err = errors.Join(err, keepLog(s.writer.conn))
		}
		err = errors.Join(err, s.writer.stmts.close(), s.writer.conn.Close())
	}
	if s.write != nil {
		err = errors.Join(err, s.write.Close())
	}
	return err
}

// Wait implements task.Store. Where the system can watch files (Linux) it also returns after
// changes by other processes; elsewhere those are found by polling.
func (s *Store) Wait(ctx context.Context, seen task.Generations) (task.Generations, error) {
	return s.signals.Wait(ctx, seen)
}

// claimable notifies this and other processes that there may be something to claim, and commanded
// that there is a command to a run.
func (s *Store) claimable() {
	s.signals.Wake(1, 0, 0)
	s.locks.notify()
}

func (s *Store) commanded() {
	s.signals.Wake(0, 1, 0)
	s.locks.notify()
}

// CheckIntegrity reads the whole file and reports what is damaged in it: a page that no call has
// read yet may have been damaged long ago. It holds up no other call, and takes as long as reading
// the file does.
func (s *Store) CheckIntegrity(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var found string
	if err := s.read.QueryRowContext(ctx, `pragma quick_check(1)`).Scan(&found); err != nil {
		return s.wrap(ctx, err)
	}
	if found != "ok" {
		return fmt.Errorf("sqlitestore: %s: %s: %s", s.path, found, damaged)
	}
	return nil
}

// Close implements task.Store.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		close(s.closed)
		s.signals.Close()
		s.routines.Wait()
		// The locks are released last: while they are held, no other process takes this one for dead.
		err = errors.Join(s.disconnect(), s.locks.close())
	})
	return err
}

// usable returns why calls are not possible, nil if they are.
func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.closed:
		return task.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.checkFile()
}
