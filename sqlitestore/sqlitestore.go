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
// registered until it has left. The kernel lets go of the lock when the process ends, however it
// ends; a neighbour tries the lock several times a second, and takes over at once. A lock that was
// taken before the last boot of the machine is no evidence, and where files cannot be locked
// (Windows) there is none: then a worker's tasks are taken over when its lease has run out.
//
// # Limits
//
// A network file system is refused: its locks and its memory mapping do not hold what SQLite needs.
// A process that is stopped (SIGSTOP, a debugger) in the middle of a write holds up every other one
// until it goes on or is killed; they report "database is locked" after five seconds.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/lastcall-go/lastcall/task"
)

// Config says which file. Only Path is needed.
type Config struct {
	// Path is the database file. It is made if it does not exist; its directory must exist.
	Path string
	// Logger hears what the store cannot return as an error. Nil means slog.Default().
	Logger *slog.Logger
}

// Store is a [task.Store] in a SQLite file.
type Store struct {
	path  string
	log   *slog.Logger
	write *sql.DB // one connection: SQLite has one writer, and Go's queue is fairer than its own
	read  *sql.DB
	locks *lockDir
	now   func() time.Time
	lanes lanes

	writer   writer
	routines sync.WaitGroup

	mu      sync.Mutex
	seen    task.Seen     // begins at one and one
	changed chan struct{} // closed and replaced when seen changes
	closed  chan struct{}
}

var _ task.Store = (*Store)(nil)

// Open opens the file, makes it if needed, and brings its schema up to date. It refuses a file on a
// network file system, a database that is not Lastcall's, and one that a newer program has made
// unreadable for this one.
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
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, err
	}
	if err := checkPlace(path); err != nil {
		return nil, err
	}
	s := &Store{
		path: path, log: cfg.Logger, now: time.Now,
		seen: task.Seen{Ready: 1, Asked: 1, Gone: 1}, changed: make(chan struct{}), closed: make(chan struct{}),
		lanes: lanes{number: make(map[lane]int64), of: make(map[int64]lane)},
	}
	s.writer = writer{work: make(chan struct{}, 1), stmts: make(map[string]*sql.Stmt)}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.write, err = sql.Open("sqlite", dsn(path, "_txlock=immediate")); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", dsn(path, "_pragma=query_only(1)")); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	s.read.SetMaxOpenConns(4)
	if err := migrate(ctx, s.write); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, explain(err)), s.write.Close(), s.read.Close())
	}
	often := []string{savepointSQL, undoSQL, releaseSQL, delayedSQL, leaseSQL, heldSQL, countersSQL, pastSQL, endSQL, unleaseSQL, tallySQL}
	for _, b := range bulks {
		often = append(often, b.add, b.ready)
	}
	if err := s.writer.prepare(ctx, s.write, often...); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, explain(err)), s.write.Close(), s.read.Close())
	}
	// From now on writers take turns (turn.go). Should the driver ever make this connection anew, SQLite
	// waits in its own way again.
	if _, err := s.write.ExecContext(ctx, `pragma busy_timeout = 0`); err != nil {
		return nil, errors.Join(err, s.write.Close(), s.read.Close())
	}
	if s.locks, err = openLockDir(path+"-workers", s.log); err != nil {
		return nil, errors.Join(err, s.write.Close(), s.read.Close())
	}
	s.sweepLocks(ctx)
	s.routines.Go(s.writes)
	s.watchNeighbours()
	return s, nil
}

// dsn is the address of the file, with what every connection needs.
func dsn(path, more string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + u.EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&" + more
}

// checkPlace gives a better error than SQLite's "unable to open database file".
func checkPlace(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist: make it, or name another file", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory: name a file in it, as in %s", path, filepath.Join(path, "tasks.db"))
	}
	return refuseNetwork(dir)
}

// Wait implements task.Store. Where the system can watch files (Linux) it hears of what other
// processes have done too; elsewhere that is found by polling.
func (s *Store) Wait(ctx context.Context, seen task.Seen) (task.Seen, error) {
	for {
		if err := s.usable(ctx); err != nil {
			return task.Seen{}, err
		}
		s.mu.Lock()
		now, changed := s.seen, s.changed
		s.mu.Unlock()
		if now != seen {
			return now, nil
		}
		select {
		case <-s.closed:
			return task.Seen{}, task.ErrClosed
		case <-ctx.Done():
			return task.Seen{}, context.Cause(ctx)
		case <-changed:
		}
	}
}

// wake ends the waiting calls of this process.
func (s *Store) wake(ready, asked, gone uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Ready += ready
	s.seen.Asked += asked
	s.seen.Gone += gone
	close(s.changed)
	s.changed = make(chan struct{})
}

// claimable says, here and to other processes, that there may be something to claim, and asked that
// something was asked of a run.
func (s *Store) claimable() {
	s.wake(1, 0, 0)
	s.locks.ring()
}

func (s *Store) asked() {
	s.wake(0, 1, 0)
	s.locks.ring()
}

// Check reads the whole file and says what is damaged in it: a page that nobody has asked for yet may
// have been spoiled long ago. It holds up nobody, and takes as long as reading the file does.
func (s *Store) Check(ctx context.Context) error {
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
func (s *Store) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return nil
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.routines.Wait()
	// The locks go last: as long as they are held, nobody takes this process for dead.
	return errors.Join(s.read.Close(), s.write.Close(), s.locks.close())
}

func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.closed:
		return task.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// wrap names the store in an error, and lets the contract's own errors through.
func (s *Store) wrap(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.closed:
		return task.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, known := range []error{task.ErrWorkerGone, task.ErrWorkerAlive, task.ErrNotFound, task.ErrInvalid,
		task.ErrKeyBusy, task.ErrRunning, task.ErrNotRunning, task.ErrAlreadyFinished} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("sqlitestore: %s: %w", s.path, s.explain(err))
}
