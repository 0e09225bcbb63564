package sqlitestore

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestClaim_ThatHadToWaitBeginsARunAfterTheEndOfTheOneBefore(t *testing.T) {
	s, _ := fresh(t)
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	s.now = func() time.Time { return time.Unix(0, clock.Load()) }
	const id, other = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	claim := func() ([]task.Task, error) {
		return s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 2, Kinds: []task.KindClaim{{Kind: "k", Max: 2}}})
	}
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: id, Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	first, err := claim()
	if err != nil || len(first) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: other, Kind: "k"}}); err != nil { // so that there is something to claim
		t.Fatal(err)
	}

	// The writer is busy; an end of the run waits for it, and after that a claim.
	var calls sync.WaitGroup
	busy, release := make(chan struct{}), make(chan struct{})
	calls.Go(func() {
		if err := s.inTx(context.Background(), func(*txn) error { close(busy); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-busy
	calls.Go(func() {
		end := task.Change{Fence: task.Fence{Task: id, Run: first[0].Run, Worker: "w"}, Status: task.Interrupted, Reason: task.ReasonStop}
		if err := s.Apply(t.Context(), []task.Change{end})[0]; err != nil {
			t.Error(err)
		}
	})
	queued(t, s, 1)
	calls.Go(func() {
		if got, err := claim(); err != nil || len(got) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	queued(t, s, 2)
	clock.Add(int64(time.Minute))
	close(release)
	calls.Wait()

	h, err := s.History(t.Context(), id)
	if err != nil || len(h) != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	if h[1].Started.Before(h[0].Ended) {
		t.Errorf("the second run began at %v, the first ended at %v", h[1].Started, h[0].Ended)
	}
}
