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
	if err := s.inTx(t.Context(), func(*txn) error { return nil }); err != nil { // after the one that is not begun
		t.Error(err)
	}
}

// queued waits until so many transactions wait for the writer.
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

func TestAdd_CallsThatShareATransactionAreAsIfEachWereAlone(t *testing.T) {
	for name, odd := range map[string]task.NewTask{
		"all plain":            {ID: id(100), Kind: "k", Queue: "other"},
		"one exists":           {ID: id(0), Kind: "k", Queue: "default"},
		"one comes twice":      {ID: id(50), Kind: "k", Queue: "default"},
		"one has a key":        {ID: id(100), Kind: "k", Queue: "default", Key: "key"},
		"one is for later":     {ID: id(100), Kind: "k", Queue: "default", Delay: time.Hour},
		"one has another kind": {ID: id(100), Kind: "new", Queue: "default"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := fresh(t)
			if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(0), Kind: "k", Queue: "default"}}); err != nil {
				t.Fatal(err)
			}
			busy, release, first := make(chan struct{}), make(chan struct{}), make(chan error)
			go func() {
				first <- s.inTx(context.Background(), func(*txn) error { close(busy); <-release; return nil })
			}()
			<-busy
			const calls = 45
			var (
				wg   sync.WaitGroup
				made atomic.Int64
			)
			call := func(tasks ...task.NewTask) {
				wg.Go(func() {
					added, err := s.Add(t.Context(), tasks)
					if err != nil {
						t.Error(err)
					}
					for i, a := range added {
						if a.ID != tasks[i].ID {
							t.Errorf("%s was added as %q", tasks[i].ID, a.ID)
						}
						if !a.Existed {
							made.Add(1)
						}
					}
				})
			}
			for n := range calls {
				call(task.NewTask{ID: id(n + 1), Kind: "k", Queue: "default"})
			}
			call(odd, task.NewTask{ID: id(200), Kind: "k", Queue: "default"})
			call(task.NewTask{ID: id(50), Kind: "k", Queue: "default"}, task.NewTask{ID: id(51), Kind: "k", Queue: "default"})
			queued(t, s, calls+2)
			close(release)
			if err := <-first; err != nil {
				t.Error(err)
			}
			wg.Wait()
			want := int64(calls + 3) // and the odd one
			if name == "all plain" || name == "one has a key" || name == "one is for later" || name == "one has another kind" {
				want++
			}
			if made.Load() != want {
				t.Errorf("%d tasks were made, want %d", made.Load(), want)
			}
			counts, err := s.Count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var sum int64
			for _, c := range counts.Tasks {
				if sum += int64(c.N); c.Status != task.StatusQueued {
					t.Errorf("%d are %s", c.N, c.Status)
				}
			}
			if sum != want+1 {
				t.Errorf("%d tasks are queued, want %d", sum, want+1)
			}
			if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
				t.Fatal(err)
			}
			got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 100, Kinds: []task.KindClaim{{Kind: "k", Max: 100}, {Kind: "new", Max: 100}}})
			if err != nil {
				t.Fatal(err)
			}
			if name == "one is for later" {
				sum--
			}
			if int64(len(got)) != sum {
				t.Errorf("%d tasks can be claimed, want %d", len(got), sum)
			}
		})
	}
}

// id is a task's id.
func id(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }
