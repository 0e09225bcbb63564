package pgstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// What was submitted is never changed, and the end of a run changes the task's state within its page: no index covers what
// it changes, and the page has room. Otherwise each task would leave dead entries in an index.
func TestTheEndOfARunTouchesNoIndex(t *testing.T) {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true})
	defer closed(t, s)
	const count, batch = 4000, 500
	for from := 0; from < count; from += batch {
		var tasks []task.NewTask
		for i := range batch {
			tasks = append(tasks, task.NewTask{ID: fmt.Sprintf("01a20590-8ee5-7b09-80e0-%012d", from+i), Kind: "k", Payload: []byte(`{"n": 1}`)})
		}
		if _, err := s.Add(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	endAll(t, s, count, batch, task.Change{Status: task.Queued, Error: "try again", Counters: task.Counters{Attempts: 1}})
	endAll(t, s, count, batch, task.Change{Status: task.Succeeded, Result: []byte("1"), Counters: task.Counters{Attempts: 1}})
	var updated, within, changed int
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); updated < count; { // the server counts with a delay
		err := s.pool.QueryRow(ctx, `select s.n_tup_upd, s.n_tup_hot_upd, t.n_tup_upd from pg_stat_user_tables s, pg_stat_user_tables t
			where s.relid = 'lastcall.states'::regclass and t.relid = 'lastcall.tasks'::regclass`).Scan(&updated, &within, &changed)
		if err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	if updated != count || within < count*95/100 || changed != 0 {
		t.Errorf("%d updates of states, %d of them within their page; %d of tasks", updated, within, changed)
	}
}

// endAll claims tasks in batches, and ends them all in the same way.
func endAll(t *testing.T, s *Store, count, batch int, end task.Change) {
	t.Helper()
	for range count / batch {
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: batch, Kinds: []task.KindClaim{{Kind: "k", Max: batch}}})
		if err != nil || len(got) != batch {
			t.Fatalf("claimed %d, %v", len(got), err)
		}
		var changes []task.Change
		for _, c := range got {
			end.Fence = task.Fence{Task: c.ID, Run: c.Run, Worker: "w"}
			changes = append(changes, end)
		}
		for _, err := range s.Apply(t.Context(), changes) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whatever a task has left goes with it: on sheets, with a checkpoint of its own, and in a row.
func TestPruningLeavesNothingOfATask(t *testing.T) {
	b := newRig(t)
	got := b.many(40)
	saved := success(got[0])
	saved.Status, saved.Checkpoint, saved.Log = task.Running, []byte("1"), []byte("a line\n")
	kept := success(got[1])
	kept.Result = []byte("1")
	for _, change := range []task.Change{saved, kept} {
		if err := b.store.Apply(t.Context(), []task.Change{change})[0]; err != nil {
			t.Fatal(err)
		}
	}
	b.apply(success, append(got[2:], got[0])...)
	if states, sheets := b.number(`select count(*) from lastcall.states`), b.number(`select count(*) from lastcall.successes`); states != 2 || sheets != 1 {
		t.Fatalf("%d states and %d sheets, want the task that has saved on the sheet, and another one in a row", states, sheets)
	}
	if done, err := b.store.Prune(t.Context(), task.PruneRequest{Max: 1000}); err != nil || done.Tasks != 40 {
		t.Fatalf("%d tasks pruned, %v", done.Tasks, err)
	}
	for _, table := range []string{"tasks", "states", "successes", "logs", "runs", "claims", "ready"} {
		if n := b.number(`select count(*) from lastcall.` + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}
