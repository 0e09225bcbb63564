package sqlitestore

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// clocked is a store with a worker, and with a clock that the test sets.
type clocked struct {
	*testing.T
	store *Store
	path  string
	clock atomic.Int64 // microseconds
	seq   uint64       // of the worker's next beat
}

func newClocked(t *testing.T, now time.Time) *clocked {
	c := &clocked{T: t, seq: 1}
	c.store, c.path = fresh(t)
	c.store.now = func() time.Time { return time.UnixMicro(c.clock.Load()) }
	c.clock.Store(now.UnixMicro())
	c.beat()
	return c
}

func (c *clocked) beat() {
	c.Helper()
	if _, err := c.store.Heartbeat(c.Context(), beat("w", c.seq, task.WorkerRunning)); err != nil {
		c.Fatal(err)
	}
	c.seq++
}

func (c *clocked) add(n task.NewTask) {
	c.Helper()
	if _, err := c.store.Add(c.Context(), []task.NewTask{n}); err != nil {
		c.Fatal(err)
	}
}

func (c *clocked) claim(want int) []task.Task {
	c.Helper()
	got, err := c.store.Claim(c.Context(), task.ClaimRequest{Worker: "w", Max: 9, Kinds: []task.KindClaim{{Kind: "k", Max: 9}}})
	if err != nil || len(got) != want {
		c.Fatalf("clock %v: claimed %d tasks, want %d, %v", c.store.now(), len(got), want, err)
	}
	return got
}

// The wall clock is the machine's, and an operator may set it. Leases are counters and locks, and
// do not depend on it; run numbers and claims must not suffer.
func TestClock_ThatJumpsRepeatsNoRunNumberTakesNoRunAndHidesNoTask(t *testing.T) {
	start := time.Now()
	c := newClocked(t, start)
	neighbour := openAt(t, c.path) // its clock is right
	defer neighbour.Close()
	const id = "00000000-0000-7000-8000-000000000001"
	c.add(task.NewTask{ID: id, Kind: "k"})
	var before int64
	jumps := []time.Duration{0, 24 * time.Hour, -50 * 365 * 24 * time.Hour, time.Hour, -time.Minute, 70 * 365 * 24 * time.Hour, 0}
	for n, jump := range jumps {
		c.clock.Store(start.Add(jump).UnixMicro())
		got := c.claim(1)[0]
		if got.Run <= before {
			t.Errorf("clock off by %v: run %d after run %d", jump, got.Run, before)
		}
		before = got.Run
		// While the task runs the clock jumps again, and another process reads the worker's liveness.
		c.clock.Add(-int64(365 * 24 * time.Hour / time.Microsecond))
		c.beat()
		for _, store := range []*Store{c.store, neighbour} {
			workers, err := store.Workers(t.Context())
			if err != nil || len(workers) != 1 || workers[0].Dead || workers[0].Liveness == task.LivenessDead {
				t.Fatalf("clock off by %v: %+v, %v", jump, workers, err)
			}
		}
		change := task.Change{Fence: task.Fence{Task: id, Run: got.Run, Worker: "w"}, Status: task.StatusInterrupted, Reason: task.ReasonStop, Checkpoint: fmt.Append(nil, n)}
		if n == len(jumps)-1 {
			change.Status, change.Reason = task.StatusSucceeded, ""
		}
		if err := c.store.Apply(t.Context(), []task.Change{change})[0]; err != nil {
			t.Fatalf("clock off by %v: %v", jump, err)
		}
	}
	runs, err := c.store.History(t.Context(), id)
	if err != nil || len(runs) != len(jumps) {
		t.Errorf("%d runs in the history, want %d: %v", len(runs), len(jumps), err)
	}
}

func TestClock_DecidesWhenADelayIsOver(t *testing.T) {
	c := newClocked(t, time.Now())
	const later = "00000000-0000-7000-8000-000000000002"
	c.add(task.NewTask{ID: later, Kind: "k", Delay: time.Hour})
	c.claim(0)
	c.clock.Add(int64(2 * time.Hour / time.Microsecond))
	if got := c.claim(1)[0]; got.ID != later {
		t.Errorf("claimed %s", got.ID)
	}
}
