// Package pgstore keeps tasks in PostgreSQL, 13 or newer: the store for many machines. The driver
// is pgx.
//
// # What is promised
//
// What Add, Claim and Apply have returned without an error survives any death of the processes and
// of the server, as far as the server keeps its synchronous commits. With synchronous_commit=off,
// or after a failover to a standby that lags behind, the last commits can be lost, and tasks and
// outcomes with them.
//
// # How a dead process is noticed
//
// A store has a pool, and one connection of its own outside the pool: the session. The session has
// a name, listens for announcements, and carries the beats, so an exhausted pool cannot make a
// worker look dead.
//
// The server ends the session when the process ends, however that happens. Other workers look for
// the session in pg_stat_activity. They take over when it has been gone for 400 ms while the beat
// stood still. A worker that has only lost this connection has by then opened it again, or has
// recorded that the session is no evidence of its death. Where connecting takes long, the 400 ms
// become more, up to 1.75 s.
//
// Only the lease decides in these cases:
//
//   - connecting takes more than a second, or took so long and requests are no quicker since;
//   - the connection was lost twice within 30 s;
//   - the session is one of an earlier start of the server;
//   - the observing store has lost its own connection, for the length of one lease: a restart of
//     the server kills nobody.
//
// # Connections
//
// A pool that the store opens from a DSN has settings of its own. Isolation, encoding, time limits
// and plans are set for each session, whatever the role and the database say. The pool connects
// only to a server that takes writes, so after a failover a DSN with several hosts finds the new
// primary by itself.
//
// A pool that the caller passes is used as it is. Open refuses one whose sessions have another
// isolation than read committed, another encoding than UTF8, or take no writes. The statements are
// safe with any search_path that has pg_catalog first, as every search_path has that does not name
// pg_catalog elsewhere.
//
// Through PgBouncer in session mode all of this holds. In transaction mode no server session
// belongs to one process; the store detects that and logs it. Then a dead worker's tasks are taken
// over when its lease has run out, new tasks are found by polling, and the sessions have the
// settings of the role, which Open checks.
//
// # The tables
//
// README.md explains them, their locks and the words of this package. Statements are in the folder
// sql, tables in the folder schema.
package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Config names the database. Exactly one of Pool and DSN must be set.
type Config struct {
	// Pool is the caller's: the store uses it, and the caller closes it after the store. The store
	// opens one more connection, with the pool's configuration.
	Pool *pgxpool.Pool
	// DSN is the address of the database, as postgres://USER@HOST/DATABASE or in keywords. What it
	// leaves out comes from the environment (PGHOST, PGPASSWORD, ...). It is never printed. The
	// store then opens a pool of its own, of pool_max_conns connections.
	DSN string
	// Schema is the name of the schema that has the tables. Empty means lastcall. One database may
	// have several.
	Schema string
	// Migrate creates the schema, or brings it up to date. Without it a schema that is missing or
	// too old is an error.
	Migrate bool
	// Wait is how long Open waits for a server that cannot be reached, is starting or has no
	// connection left. Open retries, less and less often, and logs each failure. 0 means no wait. An
	// error that waiting cannot cure, such as a wrong password or a missing database, is returned at
	// once.
	Wait time.Duration
	// Timeout bounds how long the server may take to answer a call. 0 means 15 s.
	Timeout time.Duration
	// Logger receives what the store cannot return as an error. Nil means slog.Default().
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
	dial    func(context.Context) (*pgx.Conn, error) // opens a connection outside the pool
	pooling pooling
	session *session
	channel string // the name of the channel of announcements
	q       statements

	life     context.Context // ends with Close
	end      context.CancelFunc
	routines sync.WaitGroup

	scan      scan
	idle      idle
	expiry    expiry
	epochs    epochs
	announcer *announcer
	detector  failureDetector

	signals     storekit.Signals
	closed      atomic.Bool
	busy        atomic.Bool // something may have changed since the last maintenance
	preparing   sync.Once
	maintaining sync.Once
}

var _ task.TxStore = (*Store)(nil)

// schemaName matches the names that a schema may have: the name is part of statements.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// Open connects to the database and checks, or creates, the schema. Its errors say what to do about
// a wrong password, a standby, missing rights and a newer schema, and never show the DSN. The
// caller closes the store once the workers and clients that use it are done.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Wait < 0 {
		return nil, fmt.Errorf("pgstore: wait %v is negative", cfg.Wait)
	}
	deadline := time.Now().Add(cfg.Wait)
	for pause := firstOpenPause; ; pause = min(2*pause, maxOpenPause) {
		s, err := open(ctx, cfg)
		if err == nil {
			return s, nil
		}
		if err = explain(err); ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		err = fmt.Errorf("pgstore: %w", err)
		left := time.Until(deadline)
		if left <= 0 || ctx.Err() != nil || !isAway(err) {
			return nil, err
		}
		pause = min(pause, left)
		cmp.Or(cfg.Logger, slog.Default()).Warn("the database is not available; trying again", "again_in", pause, "gives_up_in", left.Round(time.Second), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("pgstore: %w", context.Cause(ctx))
		}
	}
}

// The pauses of Open between two attempts to reach a server grow from firstOpenPause to
// maxOpenPause.
const (
	firstOpenPause = 250 * time.Millisecond
	maxOpenPause   = 5 * time.Second
)

func open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		schema: cmp.Or(cfg.Schema, "lastcall"), log: safelog.New(cfg.Logger),
		timeout: cmp.Or(cfg.Timeout, 15*time.Second), pool: cfg.Pool,
		detector: failureDetector{most: maxConfirm},
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
	s.q = loadStatements(s.ident)
	if s.pool == nil {
		pool, by, err := newPool(ctx, cfg.DSN, s.timeout)
		if err != nil {
			return nil, err
		}
		s.pool, s.ownPool, s.pooling = pool, true, by
	}
	s.dial = dialLike(s.pool)
	if err := s.connect(ctx, cfg.Migrate); err != nil {
		if s.ownPool {
			s.pool.Close()
		}
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.session = newSession(s.sessionConfig())
	s.announcer = newAnnouncer(s.log, s.notify)
	s.routines.Go(func() { s.announcer.run(s.life) })
	return s, nil
}

// connect checks the server and the schema.
func (s *Store) connect(ctx context.Context, migrate bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := checkDatabase(ctx, s.pool); err != nil {
		return err
	}
	if !s.ownPool {
		by, err := s.poolingOfPool(ctx)
		if err != nil {
			return err
		}
		s.pooling = by
	}
	if !s.ownPool || s.pooling == pooledByTransaction {
		if err := checkPool(ctx, s.pool, !s.ownPool); err != nil {
			return err
		}
	}
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	if err := s.prepareSchema(ctx, migrate); err != nil {
		return err
	}
	if err := s.checkPolicies(ctx); err != nil {
		return err
	}
	return s.readChannel(ctx)
}

// poolingOfPool reports which kind of pooler is between the pool that the caller passed and the
// server.
func (s *Store) poolingOfPool(ctx context.Context) (by pooling, err error) {
	err = s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) (err error) {
		by, err = poolingOf(ctx, c.Conn(), s.dial)
		return err
	})
	return by, err
}

// sessionConfig returns what the session needs of the store.
func (s *Store) sessionConfig() sessionConfig {
	return sessionConfig{
		dial: s.dial, pooling: s.pooling, statements: &s.q, channel: s.channel, timeout: s.timeout, steady: steadyAfter, log: s.log,
		life: s.life, start: func(f func()) { s.routines.Go(f) }, onNotify: s.heard, onConnect: s.connected,
		withdraw: func(ctx context.Context, workers []string, lost int64) {
			if _, err := s.pool.Exec(ctx, s.q.WithdrawSession, workers, lost); err != nil {
				s.log.Debug("the session could not be withdrawn as evidence", "error", err)
			}
		},
	}
}

// Wait implements task.Store. Changes made by other processes count too, once the session has
// received their announcements.
func (s *Store) Wait(ctx context.Context, seen task.Generations) (task.Generations, error) {
	s.session.begin()
	return s.signals.Wait(ctx, seen)
}

// Close implements task.Store. A pool that the caller passed stays open.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.signals.Close()
	s.end()
	s.preparing.Do(func() {})
	s.maintaining.Do(func() {})
	s.session.close()
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
