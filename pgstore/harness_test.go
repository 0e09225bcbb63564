package pgstore

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// rig is a store with one worker. It prepares nothing ahead, which would wait at the locks of a test,
// with connections of the pool.
type rig struct {
	*testing.T
	store *Store
	seq   uint64
}

func newRig(t *testing.T) *rig {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true})
	t.Cleanup(func() { closed(t, s) })
	b := &rig{T: t, store: s}
	s.preparing.Do(func() {})
	s.maintaining.Do(func() {})
	b.beat(task.WorkerRunning)
	return b
}

// begin opens a transaction, which a test that fails does not leave open.
func (b *rig) begin() pgx.Tx {
	b.Helper()
	tx, err := b.store.pool.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.Context())) }) // it has ended, unless the test has failed
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

// three claims three new tasks at once.
func (b *rig) three() []task.Task {
	b.Helper()
	for n := range 3 {
		b.add(task.NewTask{ID: testID(n)})
	}
	return b.claim(3)
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
	return task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: task.Succeeded, Counters: t.Counters}
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
	c.Status, c.Reason = task.Interrupted, task.ReasonStop
	c.Counters.Interruptions++
	c.Counters.InterruptStreak++
	return c
}

// apply makes a change of each task, and fails the test for every error.
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

// number reads one.
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
	counts, err := b.store.Count(b.Context())
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
