// Package pgstore keeps tasks in PostgreSQL, 13 or newer: the store for many machines. The driver
// is pgx.
//
// # What is promised
//
// What Add, Claim and Apply have returned without an error survives any death of the processes and
// of the server, as far as the server keeps its synchronous commits: with synchronous_commit=off,
// or a failover to a standby that lags behind, the last commits can be lost, and tasks and outcomes
// with them.
//
// # How a dead process is noticed
//
// Besides its pool a store has one connection of its own. It holds an advisory lock for each worker
// and listens for wake-ups. The server frees the lock when the process ends, however it ends; a
// neighbour tries the lock at every look, and takes over when it has found it free for 400 ms. A
// worker that only lost this connection takes the lock again within that time. A lock of an earlier
// start of the server is no evidence, and a store that has just lost its own connection believes no
// lock for one lease: a server that restarts kills nobody.
//
// Through PgBouncer in transaction mode there are no such sessions; that is noticed and said in the
// log. Then a dead worker's tasks are taken over when its lease has run out, and new tasks are
// found by polling.
package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/task"
)

// Config says which database. One of Pool and DSN is needed.
type Config struct {
	// Pool is used and stays the caller's to close, after the store. The store opens one connection
	// more, with the pool's configuration.
	Pool *pgxpool.Pool
	// DSN is the address of the database, as postgres://USER@HOST/DATABASE or in keywords; what it
	// leaves out comes from the environment (PGHOST, PGPASSWORD, ...). It is never printed. The
	// store then has a pool of its own, of pool_max_conns connections.
	DSN string
	// Schema has the tables. Empty means lastcall. Several may live in one database.
	Schema string
	// Migrate makes the schema, or brings it up to date. Without it a schema that is missing or too
	// old is an error.
	Migrate bool
	// Timeout bounds how long the server may take to answer a call. 0 means 15 s.
	Timeout time.Duration
	// Logger hears what the store cannot return as an error. Nil means slog.Default().
	Logger *slog.Logger
}

// Store is a [task.Store] in a PostgreSQL database.
type Store struct {
	schema  string
	ident   string // the schema's name, quoted
	log     *slog.Logger
	pool    *pgxpool.Pool
	ownPool bool
	timeout time.Duration
	line    *line
	q       queries

	life     context.Context // ends with Close
	end      context.CancelFunc
	routines sync.WaitGroup

	claimer   claimer
	scratch   sync.Pool // of *claimed
	holdings  holdings
	sheetFrom int // the number of ends; a test has smaller sheets
	lanes     lanes
	announce  chan struct{} // other processes should be told of tasks
	nonce     string        // tells this store's announcements from others'
	observer  observer

	announceEarly chan struct{} // of tasks that may come before others
	announceAsked chan struct{} // and that something was asked

	mu      sync.Mutex
	numbers map[string]int32 // of this store's workers
	seen    task.Seen        // begins at one and one
	changed chan struct{}    // closed and replaced when seen changes
	closed  atomic.Bool
	warming sync.Once
}

var _ task.TxStore = (*Store)(nil)

// schemaName is what a schema may be called: it is part of statements, and of a channel's name.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// Open connects to the database and checks, or makes, the schema. The errors say what to do about a
// wrong password, a standby, missing rights and a newer schema, and never show the DSN.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", explain(err))
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		schema: cmp.Or(cfg.Schema, "lastcall"), log: cmp.Or(cfg.Logger, slog.Default()),
		timeout: cmp.Or(cfg.Timeout, 15*time.Second), pool: cfg.Pool,
		announce: make(chan struct{}, 1), nonce: strconv.FormatUint(rand.Uint64(), 36),
		observer: observer{confirm: confirm, free: make(map[string]sight)},
		numbers:  make(map[string]int32), seen: task.Seen{Ready: 1, Asked: 1, Gone: 1}, changed: make(chan struct{}),
		lanes:         lanes{number: make(map[lane]int32), of: make(map[int32]lane)},
		sheetFrom:     sheetFrom,
		announceEarly: make(chan struct{}, 1), announceAsked: make(chan struct{}, 1),
	}
	switch {
	case !schemaName.MatchString(s.schema):
		return nil, badSchema(s.schema)
	case s.timeout < 0:
		return nil, fmt.Errorf("timeout %v is negative", s.timeout)
	case (cfg.Pool == nil) == (cfg.DSN == ""):
		return nil, errors.New("one of Pool and DSN must be set")
	}
	s.ident = pgx.Identifier{s.schema}.Sanitize()
	s.q = s.makeQueries()
	if s.pool == nil {
		pool, err := newPool(ctx, cfg.DSN, s.timeout)
		if err != nil {
			return nil, err
		}
		s.pool, s.ownPool = pool, true
	}
	if err := s.connect(ctx, cfg.Migrate); err != nil {
		if s.ownPool {
			s.pool.Close()
		}
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.line = newLine(s)
	s.routines.Go(s.announcements)
	return s, nil
}

// connect looks at the server and at the schema.
func (s *Store) connect(ctx context.Context, migrate bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var refuses bool
	const look = `select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on'`
	if err := s.pool.QueryRow(ctx, look).Scan(&refuses); err != nil {
		return err
	}
	if refuses {
		return errors.New(readOnly)
	}
	return s.prepareSchema(ctx, migrate)
}

// Wait implements task.Store. Changes made by other processes count too, once the connection of the
// store's own has been told of them.
func (s *Store) Wait(ctx context.Context, seen task.Seen) (task.Seen, error) {
	s.line.start()
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
		case <-s.life.Done():
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

// claimable says, here and to other processes, that there may be something to claim, of that rank
// or a later one.
func (s *Store) claimable(rank int64) {
	s.claimer.early(rank)
	s.claimer.found()
	s.wake(1, 0, 0)
	announce := s.announce
	if rank < plainRank {
		announce = s.announceEarly
	}
	select {
	case announce <- struct{}{}:
	default:
	}
}

// plainRank is that of a new task without a priority.
const plainRank = ^int64(0)

// asked says, here and to other processes, that something was asked of a run.
func (s *Store) asked() {
	s.wake(0, 1, 0)
	select {
	case s.announceAsked <- struct{}{}:
	default:
	}
}

// Close implements task.Store. A pool that was given stays open.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.end()
	s.warming.Do(func() {})
	s.line.close() // the locks go first: what this store still holds is nobody's
	s.routines.Wait()
	if s.ownPool {
		s.pool.Close()
	}
	return nil
}

func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return task.ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
