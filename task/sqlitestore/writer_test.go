package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestTransaction_ThatHasBegunIsWaitedForWhenItsContextEnds(t *testing.T) {
	s, _ := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	returned := make(chan struct{})
	answer := 0
	err := func() error {
		defer close(returned)
		return s.inTx(ctx, func(*txn) error {
			cancel()
			select {
			case <-returned: // which it must not
			case <-time.After(100 * time.Millisecond):
			}
			answer = 1
			return nil
		})
	}()
	if err != nil || answer != 1 {
		t.Errorf("answer %d, %v", answer, err)
	}
}

func TestTransaction_WhoseContextEndsWhileItWaitsIsNotBegun(t *testing.T) {
	s, _ := fresh(t)
	busy, release, first := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first <- s.inTx(context.Background(), func(*txn) error { close(busy); <-release; return nil })
	}()
	<-busy
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the caller has gone")
	second := make(chan error)
	go func() { second <- s.inTx(ctx, func(*txn) error { t.Error("begun"); return nil }) }()
	queued(t, s, 1)
	cancel(cause)
	if err := <-second; !errors.Is(err, cause) {
		t.Errorf("%v, want the context's cause", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	// It runs after the one that never began.
	if err := s.inTx(t.Context(), func(*txn) error { return nil }); err != nil {
		t.Error(err)
	}
}

// queued waits until n transactions wait for the writer.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s.writer.mu.Lock()
		got := len(s.writer.queue)
		s.writer.mu.Unlock()
		if got == n {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%d transactions wait, want %d", got, n)
		}
	}
}

// sharedAdds are calls of Add that share a transaction, since the writer is busy until all wait.
type sharedAdds struct {
	*testing.T
	store *Store
	calls int
	wg    sync.WaitGroup
	made  atomic.Int64 // tasks that did not exist
}

func (a *sharedAdds) call(tasks ...task.NewTask) {
	a.calls++
	a.wg.Go(func() {
		added, err := a.store.Add(a.Context(), tasks)
		if err != nil {
			a.Error(err)
		}
		for i, one := range added {
			if one.ID != tasks[i].ID {
				a.Errorf("%s was added as %q", tasks[i].ID, one.ID)
			}
			if one.Outcome != task.OutcomeExisting {
				a.made.Add(1)
			}
		}
	})
}

// run makes the calls while the writer is busy, then lets the writer go on, and waits for the
// calls.
func (a *sharedAdds) run(calls func()) {
	busy, release, first := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first <- a.store.inTx(context.Background(), func(*txn) error { close(busy); <-release; return nil })
	}()
	<-busy
	calls()
	queued(a.T, a.store, a.calls)
	close(release)
	if err := <-first; err != nil {
		a.Error(err)
	}
	a.wg.Wait()
}

func TestAdd_CallsThatShareATransactionAreAsIfEachWereAlone(t *testing.T) {
	for name, odd := range map[string]struct {
		task.NewTask
		isNew, claimable bool
	}{
		"all plain":            {task.NewTask{ID: id(100), Kind: "k", Queue: "other"}, true, true},
		"one exists":           {task.NewTask{ID: id(0), Kind: "k", Queue: "default"}, false, true},
		"one comes twice":      {task.NewTask{ID: id(50), Kind: "k", Queue: "default"}, false, true},
		"one has a key":        {task.NewTask{ID: id(100), Kind: "k", Queue: "default", Key: "key"}, true, true},
		"one is for later":     {task.NewTask{ID: id(100), Kind: "k", Queue: "default", Delay: time.Hour}, true, false},
		"one has another kind": {task.NewTask{ID: id(100), Kind: "new", Queue: "default"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := fresh(t)
			if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(0), Kind: "k", Queue: "default"}}); err != nil {
				t.Fatal(err)
			}
			const plain = 45
			adds := &sharedAdds{T: t, store: s}
			adds.run(func() {
				for n := range plain {
					adds.call(task.NewTask{ID: id(n + 1), Kind: "k", Queue: "default"})
				}
				adds.call(odd.NewTask, task.NewTask{ID: id(200), Kind: "k", Queue: "default"})
				adds.call(task.NewTask{ID: id(50), Kind: "k", Queue: "default"}, task.NewTask{ID: id(51), Kind: "k", Queue: "default"})
			})
			want := int64(plain + 3) // id(200), id(50) and id(51)
			if odd.isNew {
				want++
			}
			if got := adds.made.Load(); got != want {
				t.Errorf("%d tasks were made, want %d", got, want)
			}
			claimable := want + 1 // the one that was there before
			wantQueued(t, s, claimable)
			if !odd.claimable {
				claimable--
			}
			if got := claimAll(t, s, "k", "new"); int64(len(got)) != claimable {
				t.Errorf("%d tasks can be claimed, want %d", len(got), claimable)
			}
		})
	}
}

// wantQueued checks that want tasks are queued, and none has another status.
func wantQueued(t *testing.T, s *Store, want int64) {
	t.Helper()
	counts, err := s.Count(t.Context(), task.CountQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, c := range counts.Tasks {
		if sum += int64(c.N); c.Status != task.StatusQueued {
			t.Errorf("%d are %s", c.N, c.Status)
		}
	}
	if sum != want {
		t.Errorf("%d tasks are queued, want %d", sum, want)
	}
}

// claimAll claims all tasks of some kinds, for a new worker.
func claimAll(t *testing.T, s *Store, kinds ...string) []task.Task {
	t.Helper()
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	req := task.ClaimRequest{Worker: "w", Max: 100}
	for _, kind := range kinds {
		req.Kinds = append(req.Kinds, task.KindClaim{Kind: kind, Max: 100})
	}
	got, err := s.Claim(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// id returns the id of task n.
func id(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }
