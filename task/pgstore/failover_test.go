//go:build linux

package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// pair is a primary and its standby, and the address that names both.
type pair struct {
	primary, standby *pgtest.Server
	dsn              string
}

func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{primary: pgtest.New(t, "fsync=off")}
	closed(t, openAt(t, Config{DSN: p.primary.DSN("postgres"), Migrate: true}))
	p.standby = p.primary.Standby(t)
	p.dsn = fmt.Sprintf("host=%s,%s user=lastcall dbname=postgres", p.primary.Host(), p.standby.Host())
	return p
}

// untilAdded adds a task and returns how long it took until that was possible.
func untilAdded(t *testing.T, s *Store, id int) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); ; <-tick.C {
		_, err := s.Add(ctx, []task.NewTask{{ID: testID(id), Kind: "k"}})
		if err == nil {
			return time.Since(began)
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// findsPrimary is how long a store may take to find the server that takes writes.
const findsPrimary = 5 * time.Second

func TestFailover_AfterAFailoverEverythingFindsTheNewPrimary(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := openAt(t, Config{DSN: p.dsn, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beat := beatAt(t, s, 15*time.Second)
	untilAdded(t, s, 1)
	if err := p.primary.Stop(syscall.SIGINT); err != nil { // sends what it has to the standby first
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ready, with a standby alone")
	}
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: testID(2), Kind: "k"}}); err == nil {
		t.Error("a standby has taken a task")
	}
	if err := p.standby.Promote(); err != nil {
		t.Fatal(err)
	}
	if took := untilAdded(t, s, 2); took > findsPrimary {
		t.Errorf("writing took %v", took)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	awaitRecorded(t, s)
	if err := beat(t.Context()); err != nil {
		t.Errorf("a beat: %v", err)
	}
}

func TestFailover_APrimaryThatComesBackIsFoundAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := openAt(t, Config{DSN: p.dsn, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	untilAdded(t, s, 1)
	if err := p.primary.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range 10 { // each would leave a connection to the standby in the pool
		if _, err := s.Count(t.Context(), task.CountQuery{}); err == nil {
			t.Fatal("a standby was asked")
		}
	}
	if err := p.primary.Start(); err != nil {
		t.Fatal(err)
	}
	if took := untilAdded(t, s, 2); took > findsPrimary {
		t.Errorf("writing took %v", took)
	}
}

// A proxy before the servers leads to the standby for a while. A pool that the caller passed does
// not check which server it reaches.
func TestFailover_AGivenPoolDoesNotKeepSessionsOfAStandby(t *testing.T) {
	t.Parallel()
	servers := newPair(t)
	p, through := newProxy(t, servers.primary.DSN("postgres"))
	pool, err := pgxpool.New(t.Context(), through)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s := openAt(t, Config{Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beat := beatAt(t, s, 15*time.Second)
	untilAdded(t, s, 1)
	p.lead(servers.standby.Host())
	p.cut()
	awaitSession(t, s.session, func() bool { return s.session.phase == phaseDown })
	pool.Reset()
	if err := s.Ping(t.Context()); !errors.Is(err, errReadOnly) {
		t.Errorf("Ping: %v", err)
	}
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: testID(2), Kind: "k"}}); err == nil || !strings.Contains(err.Error(), readOnly) {
		t.Errorf("a write: %v", err)
	}
	if err := beat(t.Context()); err == nil {
		t.Error("a standby has taken a beat")
	}
	var conns []*pgxpool.Conn
	for range 3 { // which lead to the standby
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.Release()
	}
	p.lead(servers.primary.Host())
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: testID(2), Kind: "k"}}); err != nil {
		t.Errorf("the first write: %v", err)
	}
	if err := beat(t.Context()); err != nil {
		t.Errorf("a beat: %v", err)
	}
	awaitRecorded(t, s)
}

func TestOpen_RefusesAPoolThatMayTakeAnyOfSeveralHosts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for dsn, refused := range map[string]bool{p.dsn: true, p.dsn + " target_session_attrs=read-write": false} {
		pool, err := pgxpool.New(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Config{Pool: pool})
		if err == nil {
			closed(t, s)
		}
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "add target_session_attrs=read-write") {
			t.Errorf("%s: %v", dsn, err)
		}
		pool.Close()
	}
}

func TestFailover_APreparedStatementOfAnOlderTableIsForgotten(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: pgtest.Keywords(dsn, "pool_max_conns", "1"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	exec(t, dsn, `create table public.t as select 1 as a`)
	read := func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `select * from public.t`)
		if err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	}
	if err := s.again(t.Context(), read); err != nil {
		t.Fatal(err)
	}
	tx, err := s.pool.Begin(t.Context()) // where the driver itself cannot help
	if err != nil {
		t.Fatal(err)
	}
	exec(t, dsn, `alter table public.t alter column a type text`)
	rows, err := tx.Query(t.Context(), `select * from public.t`)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if !isUnusableSession(err) || !isUndone(err) {
		t.Errorf("%v is not seen as a fault of the session", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := s.pool.Stat().NewConnsCount()
	s.discard(err)
	if err := s.again(t.Context(), read); err != nil {
		t.Error(err)
	}
	if after := s.pool.Stat().NewConnsCount(); after == before {
		t.Error("the session is used again")
	}
}
