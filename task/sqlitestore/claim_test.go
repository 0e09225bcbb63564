package sqlitestore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
	// So that there is something to claim.
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: other, Kind: "k"}}); err != nil {
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
		end := task.Change{Fence: task.Fence{Task: id, Run: first[0].Run, Worker: "w"}, Status: task.StatusInterrupted, Reason: task.ReasonStop}
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

// Queues have tasks with different priorities. Some are paused, and some claims name a few of them.
func TestClaim_FromManyQueuesTakesTheFirstTasksOfThoseThatAreOpen(t *testing.T) {
	s, _ := fresh(t)
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	const queues, tasks = 150, 600
	var waiting []task.NewTask
	for i := range tasks {
		waiting = append(waiting, task.NewTask{ID: id(i), Kind: []string{"k", "other", "foreign"}[i%3], Queue: fmt.Sprint("q", i*7%queues), Priority: i * 13 % 5})
	}
	if _, err := s.Add(t.Context(), waiting); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(waiting, func(a, b task.NewTask) int { return cmp.Compare(b.Priority, a.Priority) })
	for n, c := range []struct {
		pause string
		from  []string
		max   int
	}{{"", nil, 20}, {"", []string{"q3", "q4", "q5", "none"}, 2}, {"q7", nil, 20}, {"q8", []string{"q7", "q8", "q9"}, 5}, {"", nil, tasks}} {
		if c.pause != "" {
			if err := s.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: c.pause}); err != nil {
				t.Fatal(err)
			}
		}
		paused, err := texts(t.Context(), s.reader, "PausedQueues")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		waiting = slices.DeleteFunc(waiting, func(w task.NewTask) bool {
			takes := len(want) < c.max && w.Kind != "foreign" && !slices.Contains(paused, w.Queue) && (c.from == nil || slices.Contains(c.from, w.Queue))
			if takes {
				want = append(want, w.ID)
			}
			return takes
		})
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: c.max, Queues: c.from, Suspects: 1,
			Kinds: []task.KindClaim{{Kind: "other", Max: tasks}, {Kind: "k", Max: tasks}, {Kind: "nothing", Max: tasks}}})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, g := range got {
			ids = append(ids, g.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("claim %d: %v, want %v", n, ids, want)
		}
	}
}
