package pgstore

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

func TestCount_StartsNoOtherProcesses(t *testing.T) {
	b := newRig(t)
	rows, err := b.store.pool.Query(t.Context(), "explain "+b.store.q.Count)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); strings.Contains(text, "Workers Planned") {
		t.Error(text)
	}
}

func TestCount_KeepsKindsAndQueuesApart(t *testing.T) {
	b := newRig(t)
	var tasks []task.NewTask
	for i, r := range []route{{"a", "x"}, {"a", "x"}, {"a", "y"}, {"b", "x"}} {
		tasks = append(tasks, task.NewTask{ID: testID(i), Kind: r.kind, Queue: r.queue})
	}
	if _, err := b.store.Add(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	if got := claims(t, b.store, "b"); len(got) != 1 {
		t.Fatal(got)
	}
	b.mustControl(task.VerbCancel, testID(0))
	for _, queue := range []string{"y", "never used"} {
		if err := b.store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: queue}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.store.Count(t.Context(), task.CountQuery{})
	want := []task.Count{
		{Queue: "x", Kind: "a", Status: task.StatusQueued, N: 1}, {Queue: "x", Kind: "a", Status: task.StatusCancelled, N: 1},
		{Queue: "x", Kind: "b", Status: task.StatusRunning, N: 1}, {Queue: "y", Kind: "a", Status: task.StatusQueued, N: 1},
	}
	task.SortCounts(want)
	if err != nil || !slices.Equal(got.Tasks, want) || !slices.Equal(got.Paused, []string{"never used", "y"}) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// One process adds up the changes while others add changes, and others count.
func TestCount_IsRightWhileTheChangesAreAddedUp(t *testing.T) {
	b := newRig(t)
	const rounds = 40
	var all sync.WaitGroup
	all.Go(func() {
		for i := range rounds {
			if _, err := b.store.Add(t.Context(), []task.NewTask{{ID: testID(i), Kind: "k", Queue: "default"}}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		all.Go(func() {
			for range rounds {
				if _, err := b.store.pool.Exec(t.Context(), b.store.q.CompactCounts, int64(3)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		last := 0
		for range rounds {
			counts, err := b.store.Count(t.Context(), task.CountQuery{})
			if err != nil || len(counts.Tasks) > 1 {
				t.Error(counts, err)
			}
			n := 0
			for _, c := range counts.Tasks {
				n = c.N
			}
			if n < last {
				t.Errorf("%d tasks, and before %d", n, last)
			}
			last = n
		}
	})
	all.Wait()
	b.counts(map[task.Status]int{task.StatusQueued: rounds})
	mustExec(t, b.store, b.store.q.CompactCounts, int64(1))
	if n := b.number(`select count(*) from lastcall.counts`); n != 1 {
		t.Errorf("%d rows are left of the counts", n)
	}
	b.counts(map[task.Status]int{task.StatusQueued: rounds})
}

// A process that was stopped while it added up the changes holds up no other.
func TestCompactCounts_LeavesItToWhoeverIsAtIt(t *testing.T) {
	b := newRig(t)
	for i := range 10 {
		b.add(task.NewTask{ID: testID(i)})
	}
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), b.store.q.CompactCounts, int64(1)); err != nil {
		t.Fatal(err)
	}
	tag, err := b.store.pool.Exec(t.Context(), b.store.q.CompactCounts, int64(1))
	if err != nil || tag.RowsAffected() != 0 {
		t.Errorf("%v, %v", tag, err)
	}
	b.add(task.NewTask{ID: testID(10)})
	b.counts(map[task.Status]int{task.StatusQueued: 11})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.counts(map[task.Status]int{task.StatusQueued: 11})
}

// There are few changes of each count, but many counts.
func TestCompactCounts_AddsUpTheCountsOfManyQueues(t *testing.T) {
	b := newRig(t)
	const queues = 30
	add := func(id, queue int) {
		t.Helper()
		if _, err := b.store.Add(t.Context(), []task.NewTask{{ID: testID(id), Kind: "k", Queue: fmt.Sprintf("q%d", queue)}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 * queues {
		add(i, i%queues)
	}
	mustExec(t, b.store, b.store.q.CompactCounts, int64(countRows))
	if n := b.number(`select count(*) from lastcall.counts`); n != queues {
		t.Errorf("%d rows are left of the counts of %d queues", n, queues)
	}
	add(1000, 0)
	mustExec(t, b.store, b.store.q.CompactCounts, int64(countRows))
	if n := b.number(`select count(*) from lastcall.counts`); n != queues+1 {
		t.Errorf("%d rows of the counts: that of one more task was added up", n)
	}
	b.counts(map[task.Status]int{task.StatusQueued: 3*queues + 1})
}
