package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// claims returns the ids that a claim of some kinds gets.
func claims(t *testing.T, s *Store, kinds ...string) (ids []string) {
	t.Helper()
	req := task.ClaimRequest{Worker: "w", Max: 100}
	for _, k := range kinds {
		req.Kinds = append(req.Kinds, task.KindClaim{Kind: k, Max: 100})
	}
	got, err := s.Claim(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range got {
		ids = append(ids, one.ID)
	}
	return ids
}

func TestALaneThatAnotherProcessMadeJustBeforeOurOwnIsClaimedFrom(t *testing.T) {
	dsn := pgtest.DSN(t)
	ours := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, ours)
	theirs := openAt(t, Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, theirs)
	if _, err := ours.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	if err := ours.readLanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	const id = "00000000-0000-7000-8000-000000000001"
	if _, err := theirs.Add(t.Context(), []task.NewTask{{ID: id, Kind: "theirs"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.makeLane(t.Context(), lane{kind: "ours"}); err != nil { // as after a look in which theirs was not there
		t.Fatal(err)
	}
	if got := claims(t, ours, "ours", "theirs"); len(got) != 1 || got[0] != id {
		t.Errorf("claimed %v, want the task of the kind that another process made", got)
	}
}

// A number that was given becomes visible only after all lower ones: a claim would never look for it.
func TestTheNumbersOfLanesBecomeVisibleInTheirOrder(t *testing.T) {
	dsn := pgtest.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // it was committed
	var first int32
	if err := tx.QueryRow(t.Context(), s.q.makeLane, "slow", "q").Scan(&first); err != nil {
		t.Fatal(err)
	}
	made := make(chan int32, 1)
	go func() {
		n, err := s.makeLane(t.Context(), lane{kind: "quick", queue: "q"})
		if err != nil {
			t.Error(err)
		}
		made <- n
	}()
	if !eventually(t, dsn, `select exists (select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory')`) {
		t.Error("nobody waits for the lock")
	}
	select {
	case n := <-made:
		t.Fatalf("lane %d was made while lane %d was not visible yet", n, first)
	default:
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := <-made; n <= first {
		t.Errorf("lane %d after lane %d", n, first)
	}
}

// poolOfOne is a pool with a single connection.
func poolOfOne(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestATransactionThatHasTheOnlyConnectionOfThePoolEnqueuesANewKind(t *testing.T) {
	dsn := pgtest.DSN(t)
	pool := poolOfOne(t, dsn)
	s := openAt(t, Config{Pool: pool, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	other := openAt(t, Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, other)
	client, theirs := task.NewClient(s), task.NewClient(other)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	inside, err := numbered.Enqueue(ctx, client.In(Tx(tx)), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The lane is there for everybody, before the transaction has ended.
	outside, err := numbered.Enqueue(ctx, theirs, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.In(Tx(tx)).Enqueue(ctx, "theirs", []byte("1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Get(ctx, inside.ID); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("rolled back, and the task: %v", err)
	}
	again, err := numbered.Enqueue(ctx, client, 3, nil) // the lane that was made has survived
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{outside.ID, again.ID} {
		if got, err := theirs.Get(ctx, id); err != nil || got.Kind != numbered.Name {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}

func TestANewKindWithoutAConnectionLeftIsAnErrorAndTheTransactionLives(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	exec(t, dsn, `drop role if exists narrow`, `create role narrow login connection limit 1`,
		`grant usage on schema lastcall to narrow`, `grant select, insert, update, delete on all tables in schema lastcall to narrow`)
	defer exec(t, dsn, `drop owned by narrow`, `drop role narrow`)
	pool := poolOfOne(t, pgtest.Keywords(dsn, "user", "narrow"))
	s := openAt(t, Config{Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = numbered.Enqueue(soon(t), task.NewClient(s).In(Tx(tx)), 1, nil)
	if err == nil || !strings.Contains(err.Error(), `the first task of kind "numbered" in queue "default" takes a moment's connection`) || !strings.Contains(err.Error(), "no connection left") {
		t.Errorf("%v", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("the transaction: %v", err)
	}
}
