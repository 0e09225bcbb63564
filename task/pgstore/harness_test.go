package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// migrated is a database with the tables of a store. Most tests begin with a copy; those that are
// about the migration, or about roles and databases, begin with an empty one of pgtest.
var migrated = pgtest.Prepared{Prepare: func(dsn string) error {
	s, err := Open(context.Background(), Config{DSN: dsn, Migrate: true})
	if err != nil {
		return err
	}
	return s.Close()
}}

// rig is a store with one worker. It prepares no statements in advance: the locks of a test would
// hold up that, with connections of the pool.
type rig struct {
	*testing.T
	store *Store
	seq   uint64
}

func newRig(t *testing.T) *rig {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true})
	t.Cleanup(func() { closed(t, s) })
	b := &rig{T: t, store: s}
	s.preparing.Do(func() {})
	s.maintaining.Do(func() {})
	b.beat(task.WorkerRunning)
	return b
}

// begin opens a transaction, which is rolled back if the test fails.
func (b *rig) begin() pgx.Tx {
	b.Helper()
	tx, err := b.store.pool.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	// It has ended, unless the test has failed.
	b.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.Context())) })
	return tx
}

func (b *rig) beat(state task.WorkerState) {
	b.Helper()
	b.seq++
	if _, err := b.store.Heartbeat(b.Context(), task.Beat{Worker: "w", Seq: b.seq, State: state}); err != nil {
		b.Fatal(err)
	}
}

func testID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

func (b *rig) add(tasks ...task.NewTask) {
	b.Helper()
	for i := range tasks {
		tasks[i].Kind, tasks[i].Queue = "k", "default"
	}
	if _, err := b.store.Add(b.Context(), tasks); err != nil {
		b.Fatal(err)
	}
}

func (b *rig) claim(n int) []task.Task {
	b.Helper()
	got, err := b.store.Claim(b.Context(), task.ClaimRequest{Worker: "w", Max: n, Kinds: []task.KindClaim{{Kind: "k", Max: n}}})
	if err != nil || len(got) != n {
		b.Fatalf("%d tasks, %v", len(got), err)
	}
	return got
}

func (b *rig) end(tasks ...task.Task) {
	b.Helper()
	var all []task.Change
	for _, t := range tasks {
		all = append(all, success(t))
	}
	for _, err := range b.store.Apply(b.Context(), all) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

func success(t task.Task) task.Change {
	return task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: task.StatusSucceeded, Counters: t.Counters}
}

// many claims n new tasks at once.
func (b *rig) many(n int) []task.Task {
	b.Helper()
	var tasks []task.NewTask
	for i := range n {
		tasks = append(tasks, task.NewTask{ID: testID(i), Payload: []byte("{}")})
	}
	b.add(tasks...)
	return b.claim(n)
}

func interruption(t task.Task) task.Change {
	c := success(t)
	c.Status, c.Reason = task.StatusInterrupted, task.ReasonStop
	c.Counters.Interruptions++
	c.Counters.InterruptStreak++
	return c
}

// apply writes a change of each task, and fails the test for every error.
func (b *rig) apply(change func(task.Task) task.Change, tasks ...task.Task) {
	b.Helper()
	for i, err := range b.store.Apply(b.Context(), changes(change, tasks)) {
		if err != nil {
			b.Fatalf("%s: %v", tasks[i].ID, err)
		}
	}
}

func changes(change func(task.Task) task.Change, tasks []task.Task) (all []task.Change) {
	for _, t := range tasks {
		all = append(all, change(t))
	}
	return all
}

// number returns the number that a query reads.
func (b *rig) number(sql string, args ...any) (n int) {
	b.Helper()
	if err := b.store.pool.QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

func (b *rig) find(q task.Query) []task.Task {
	b.Helper()
	got, err := b.store.Find(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	return got
}

// counts checks how many tasks have each status.
func (b *rig) counts(want map[task.Status]int) {
	b.Helper()
	counts, err := b.store.Count(b.Context(), task.CountQuery{})
	if err != nil {
		b.Fatal(err)
	}
	got := make(map[task.Status]int)
	for _, c := range counts.Tasks {
		got[c.Status] += c.N
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("counted %v, want %v", got, want)
	}
}

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

// fillReady inserts tasks of the kind k that can be claimed, with the numbers from first to last,
// in one statement.
func (b *rig) fillReady(first, last int, queue string) {
	b.Helper()
	mustExec(b.T, b.store, `with added as (
			insert into @.tasks (id, kind, queue, route, priority, payload)
			select ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 'k', $3, $4, 0, '{}' from generate_series($1::integer, $2::integer) i
			returning id, created, kind, queue, route
		), counted as (
			insert into @.counts (kind, queue, status, delta) select kind, queue, 'added', count(*) from added group by kind, queue
		)
		insert into @.ready (id, created, run_at, route, sort_priority, kind, queue) select id, created, created, route, -1, kind, queue from added`,
		first, last, queue, route{kind: "k", queue: queue}.number())
}

// fillRunning inserts tasks that a worker runs, each in its run 1, in one statement.
func (b *rig) fillRunning(first, last int, worker string) {
	b.Helper()
	mustExec(b.T, b.store, `with added as (
			insert into @.tasks (id, kind, queue, route, priority, payload)
			select ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 'k', 'default', $3, 0, '{}' from generate_series($1::integer, $2::integer) i
			returning id, created, kind, queue, route
		)
		insert into @.running (task, run, worker, created, route, sort_priority, max_attempts, max_crashes, max_interruptions, runs, kind, queue)
		select id, 1, $4, created, route, -1, 0, 0, 0, 1, kind, queue from added`,
		first, last, route{kind: "k", queue: "default"}.number(), workerKey(worker))
}

// gate keeps rows out of a table: a statement that inserts one waits until the gate is opened. The
// statement is not held up before that, and what it has locked by then stays locked.
func (b *rig) gate(table string) (open func()) {
	b.Helper()
	const lock = 77
	mustExec(b.T, b.store, fmt.Sprintf(`create function public.gate() returns trigger language plpgsql as
		$$ begin perform pg_advisory_xact_lock_shared(%d); return new; end $$`, lock))
	mustExec(b.T, b.store, `create trigger gate before insert on @.`+table+` for each row execute function public.gate()`)
	tx := b.begin()
	if _, err := tx.Exec(b.Context(), `select pg_advisory_xact_lock($1)`, lock); err != nil {
		b.Fatal(err)
	}
	return func() {
		b.Helper()
		if err := tx.Rollback(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// until waits until the answer to a question is true.
func (b *rig) until(question string) {
	b.Helper()
	if !eventually(b.T, b.store.pool.Config().ConnString(), b.store.sql(question)) {
		b.Fatalf("never true: %s", question)
	}
}

// untilCounted waits until an answer from the statistics of the server is true. A session adds its
// work to these when it ends.
func (b *rig) untilCounted(question string) {
	b.Helper()
	b.store.pool.Reset()
	b.until(question)
}

// untilWaiting waits until n sessions wait for a lock.
func (b *rig) untilWaiting(n int) {
	b.Helper()
	b.until(fmt.Sprintf(`select count(*) = %d from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`, n))
}

// farRig is a rig, and a second store with the same worker behind a network that can lose answers.
// Its pool has one connection, so that statements stay prepared.
type farRig struct {
	*rig
	far *Store
	net *proxy
}

func newFarRig(t *testing.T) *farRig {
	b := newRig(t)
	p, through := newProxy(t, b.store.pool.Config().ConnString())
	p.stubborn.Store(true)
	far := openAt(t, Config{DSN: pgtest.Keywords(through, "pool_max_conns", "1"), Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { closed(t, far) })
	// It would take the connection.
	far.announcer.send = func(context.Context, string) error { return nil }
	far.preparing.Do(func() {})
	far.maintaining.Do(func() {})
	far.expiry.at = time.Now().Add(time.Hour) // no call looks for expired tasks first
	return &farRig{rig: b, far: far, net: p}
}

// losing makes a call of the far store whose statement is prepared, and loses its answer once the
// server has done as much as the question done checks.
func (b *farRig) losing(call func() error, done string) {
	b.Helper()
	b.net.muted.Store(true)
	failed := make(chan error, 1)
	go func() { failed <- call() }()
	b.until(done)
	b.net.cut()
	b.net.muted.Store(false)
	if err := <-failed; err == nil || errors.Is(err, context.Canceled) {
		b.Fatalf("a call whose answer was lost: %v", err)
	}
}

// claimOf returns a claim of n tasks of the kind k for the worker w.
func claimOf(n int) task.ClaimRequest {
	return task.ClaimRequest{Worker: "w", Max: n, Kinds: []task.KindClaim{{Kind: "k", Max: n}}}
}

// ids returns the ids of some tasks.
func ids(tasks []task.Task) (all []string) {
	for _, t := range tasks {
		all = append(all, t.ID)
	}
	return all
}
