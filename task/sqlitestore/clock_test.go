package sqlitestore

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// The wall clock is the machine's, and somebody may set it: leases are counters and locks, and do
// not go by it; run numbers and claims must not mind.
func TestClock_ThatJumpsRepeatsNoRunNumberTakesNoRunAndHidesNoTask(t *testing.T) {
	s, path := fresh(t)
	neighbour := openAt(t, path) // with the right clock
	defer neighbour.Close()
	var clock atomic.Int64
	s.now = func() time.Time { return time.UnixMicro(clock.Load()) }
	start := time.Now()
	clock.Store(start.UnixMicro())
	seq := uint64(1)
	live := func(worker string) {
		t.Helper()
		if _, err := s.Heartbeat(t.Context(), beat(worker, seq, task.WorkerRunning)); err != nil {
			t.Fatal(err)
		}
		seq++
	}
	live("w")
	claim := func() task.Task {
		t.Helper()
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 9, Kinds: []task.KindClaim{{Kind: "k", Max: 9}}})
		if err != nil || len(got) != 1 {
			t.Fatalf("clock %v: claimed %d tasks, %v", s.now(), len(got), err)
		}
		return got[0]
	}
	const id = "00000000-0000-7000-8000-000000000001"
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: id, Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	var before int64
	jumps := []time.Duration{0, 24 * time.Hour, -50 * 365 * 24 * time.Hour, time.Hour, -time.Minute, 70 * 365 * 24 * time.Hour, 0}
	for n, jump := range jumps {
		clock.Store(start.Add(jump).UnixMicro())
		got := claim()
		if got.Run <= before {
			t.Errorf("clock off by %v: run %d after run %d", jump, got.Run, before)
		}
		before = got.Run
		// While it runs the clock jumps again, and the worker is looked after by a neighbour.
		clock.Add(-int64(365 * 24 * time.Hour / time.Microsecond))
		live("w")
		for _, store := range []*Store{s, neighbour} {
			workers, err := store.Workers(t.Context())
			if err != nil || len(workers) != 1 || workers[0].Dead || workers[0].Liveness == task.LivenessDead {
				t.Fatalf("clock off by %v: %+v, %v", jump, workers, err)
			}
		}
		change := task.Change{Fence: task.Fence{Task: id, Run: got.Run, Worker: "w"}, Status: task.StatusInterrupted, Reason: task.ReasonStop, Checkpoint: fmt.Append(nil, n)}
		if n == len(jumps)-1 {
			change.Status, change.Reason = task.StatusSucceeded, ""
		}
		if err := s.Apply(t.Context(), []task.Change{change})[0]; err != nil {
			t.Fatalf("clock off by %v: %v", jump, err)
		}
	}
	runs, err := s.History(t.Context(), id)
	if err != nil || len(runs) != len(jumps) {
		t.Errorf("%d runs in the history, want %d: %v", len(runs), len(jumps), err)
	}

	// A delay goes by the clock: it is over when the clock says so.
	clock.Store(start.UnixMicro())
	const later = "00000000-0000-7000-8000-000000000002"
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: later, Kind: "k", Delay: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 9, Kinds: []task.KindClaim{{Kind: "k", Max: 9}}}); err != nil || len(got) != 0 {
		t.Errorf("a delayed task was claimed: %+v, %v", got, err)
	}
	clock.Add(int64(2 * time.Hour / time.Microsecond))
	if got := claim(); got.ID != later {
		t.Errorf("claimed %s", got.ID)
	}
}
