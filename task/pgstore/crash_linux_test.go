package pgstore

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// Without synchronous commits the server loses the last claims when it crashes: the numbers from
// which it then counts are older than those that workers have seen.
func TestRunNumber_ThatAWorkerHasSeenIsNotGivenAgainAfterTheServerHasCrashed(t *testing.T) {
	t.Parallel()
	f := newForgetful(t)
	s := f.open("w").store
	const count = 20
	seen := &sightings{highest: make(map[string]int64), enough: make(chan struct{})}
	var news []task.NewTask
	for i := range count {
		id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
		news = append(news, task.NewTask{ID: id, Kind: "k"})
		seen.highest[id] = 0
	}
	if _, err := s.Add(t.Context(), news); err != nil {
		t.Fatal(err)
	}
	f.remember(s)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for ctx.Err() == nil && seen.claim(ctx, s) == nil {
			}
		})
	}
	select {
	case <-seen.enough:
	case <-soon(t).Done():
		t.Fatal("too few claims")
	}
	f.kill() // in the middle of claims
	stop()
	workers.Wait()
	if err := f.server.Start(); err != nil {
		t.Fatal(err)
	}

	forgotten := 0
	all, err := s.Find(t.Context(), task.Query{})
	if err != nil || len(all) != count {
		t.Fatalf("%d tasks, %v", len(all), err)
	}
	for _, one := range all {
		if one.Run < seen.highest[one.ID] {
			forgotten++
		}
		if one.Status == task.StatusRunning {
			if err := s.Apply(t.Context(), []task.Change{handOver(one)})[0]; err != nil {
				t.Error(err)
			}
		}
	}
	if forgotten == 0 {
		t.Error("the crash has lost no claim: this test shows nothing")
	}
	for id, run := range claimEach(t, s, count) {
		if run <= seen.highest[id] {
			t.Errorf("%s: run %d after the crash, and a worker had seen %d", id, run, seen.highest[id])
		}
	}
}

// claimEach claims until it has count tasks, and returns their run numbers.
func claimEach(t *testing.T, s *Store, count int) map[string]int64 {
	t.Helper()
	runs := make(map[string]int64)
	for ctx := soon(t); len(runs) < count; {
		got, err := s.Claim(ctx, task.ClaimRequest{Worker: "w", Max: count, Kinds: []task.KindClaim{{Kind: "k", Max: count}}})
		if err != nil {
			t.Fatalf("%v, with %d of %d tasks claimed", err, len(runs), count)
		}
		for _, one := range got {
			runs[one.ID] = one.Run
		}
	}
	return runs
}

// handOver returns the change that makes the task of a run claimable again.
func handOver(run task.Task) task.Change {
	return task.Change{Fence: task.Fence{Task: run.ID, Run: run.Run, Worker: "w"}, Status: task.StatusInterrupted, Reason: task.ReasonStop}
}

// sightings are the run numbers that workers have seen.
type sightings struct {
	mu      sync.Mutex
	highest map[string]int64
	claims  int
	enough  chan struct{}
}

// claim claims some tasks and hands them over.
func (n *sightings) claim(ctx context.Context, s *Store) error {
	got, err := s.Claim(ctx, task.ClaimRequest{Worker: "w", Max: 3, Kinds: []task.KindClaim{{Kind: "k", Max: 3}}})
	if err != nil {
		return err
	}
	changes := make([]task.Change, len(got))
	n.mu.Lock()
	for i, one := range got {
		changes[i] = handOver(one)
		n.highest[one.ID] = max(n.highest[one.ID], one.Run)
		if n.claims++; n.claims == 300 {
			close(n.enough)
		}
	}
	n.mu.Unlock()
	for _, err := range s.Apply(ctx, changes) {
		if err != nil {
			return err
		}
	}
	return nil
}
