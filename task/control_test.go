package task_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// hold makes the handler wait for its context, and hands over the cause.
func (b *bench) hold() <-chan error {
	causes := make(chan error, 10)
	b.handle = func(ctx context.Context, r *task.Run) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}
	return causes
}

func TestCancelEndsARunningTaskAndSaysSoToItsHandler(t *testing.T) {
	bubble(t, func(b *bench) {
		causes := b.hold()
		g := b.serve(b.store)
		id := b.enqueue()
		synctest.Wait()
		if err := b.client.Cancel(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if cause := <-causes; !errors.Is(cause, task.ErrCancelled) {
			t.Errorf("cause %v", cause)
		}
		synctest.Wait()
		b.want(id, task.StatusCancelled, "", 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestInterruptHandsATaskToAnotherWorkerFirst(t *testing.T) {
	bubble(t, func(b *bench) {
		var runs []string
		b.handle = func(ctx context.Context, r *task.Run) error {
			runs = append(runs, time.Now().Format("05"))
			if len(runs) > 1 {
				return nil
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), task.ErrInterruptRequested) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return ctx.Err()
		}
		g := b.serve(b.store)
		id := b.enqueue()
		synctest.Wait()
		if err := b.client.Interrupt(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.want(id, task.StatusInterrupted, task.ReasonRequested, 0, 1, 0)
		began := time.Now()
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || done.Status != task.StatusSucceeded {
			t.Errorf("%+v, %v", done, err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("the only worker took it again after %v, want about 5 s", took)
		}
		b.stop(g, 0)
	})
}

func TestASnoozeWaitsAndCostsNothing(t *testing.T) {
	bubble(t, func(b *bench) {
		var began []time.Time
		b.handle = func(context.Context, *task.Run) error {
			if began = append(began, time.Now()); len(began) == 1 {
				return task.Snooze(time.Minute)
			}
			return nil
		}
		g := b.serve(b.store)
		id := b.enqueue()
		if _, err := b.client.Wait(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if d := began[1].Sub(began[0]); d < time.Minute || d > 62*time.Second {
			t.Errorf("run again after %v", d)
		}
		b.stop(g, 0)
	})
}

func TestResultAndLogAreKept(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(_ context.Context, r *task.Run) error {
			r.Log("one")
			r.Log("two")
			return r.SetResult(map[string]int{"n": 3})
		}
		g := b.serve(b.store)
		id := b.enqueue()
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || string(done.Result) != `{"n":3}` {
			t.Errorf("result %s, %v", done.Result, err)
		}
		if log, err := b.client.Log(b.t.Context(), id); err != nil || string(log) != "one\ntwo\n" {
			t.Errorf("log %q, %v", log, err)
		}
		b.stop(g, 0)
	})
}

func TestAClaimWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error { return nil }
		id := b.enqueue()
		s := &forgetful{Store: b.store}
		g := b.serve(s)
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || done.Status != task.StatusSucceeded || done.Runs != 1 || !s.lost.Load() {
			t.Errorf("%+v, %v; an answer was lost: %v", done, err, s.lost.Load())
		}
		b.stop(g, 0)
	})
}

// forgetful loses the answer of the first claim that got something.
type forgetful struct {
	task.Store
	lost atomic.Bool
}

func (f *forgetful) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	got, err := f.Store.Claim(ctx, req)
	if len(got) > 0 && !f.lost.Swap(true) {
		return nil, errors.New("the answer was lost")
	}
	return got, err
}

func TestInterruptionsWithoutACheckpointWaitLongerEachTimeAndAreCapped(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.MaxInterruptions = 3
		b.hold()
		id := b.enqueue()
		for n, want := range []time.Duration{0, 200 * time.Millisecond, 0} {
			g := b.serve(b.store)
			for b.get(id).Status != task.StatusRunning {
				time.Sleep(10 * time.Millisecond)
			}
			b.stop(g, 0)
			got := b.get(id)
			if n == 2 {
				if got.Status != task.StatusFailed {
					t.Errorf("after three interruptions: %s", got.Status)
				}
				return
			}
			if d := got.RunAt.Sub(got.Since); got.Status != task.StatusInterrupted || d != want {
				t.Errorf("interruption %d: %s, waits %v, want %v", n+1, got.Status, d, want)
			}
		}
	})
}

func TestMiddlewareWrapsInItsOrderAndObserversHearOfEveryRun(t *testing.T) {
	bubble(t, func(b *bench) {
		var order []string
		wrap := func(name string) func(task.Handler) task.Handler {
			return func(next task.Handler) task.Handler {
				return func(ctx context.Context, r *task.Run) error {
					order = append(order, name)
					return next(ctx, r)
				}
			}
		}
		b.middleware = []func(task.Handler) task.Handler{wrap("outer"), wrap("inner")}
		var seen []task.Status
		b.observe = func(e task.Event) { seen = append(seen, e.Status) }
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(b.store)
		b.enqueue()
		synctest.Wait()
		if !slices.Equal(order, []string{"outer", "inner"}) || !slices.Equal(seen, []task.Status{task.StatusRunning, task.StatusSucceeded}) {
			t.Errorf("order %v, seen %v", order, seen)
		}
		b.stop(g, 0)
	})
}

func TestOldTasksAreRemovedAndYoungOnesStay(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error { return nil }
		b.retention = time.Hour
		g := b.serve(b.store)
		id := b.enqueue()
		time.Sleep(time.Hour - time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		time.Sleep(time.Hour)
		if _, err := b.client.Get(b.t.Context(), id); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("after its retention: %v", err)
		}
		b.stop(g, 0)
	})
}

// pruneAsked is a store that keeps what it was asked to remove.
type pruneAsked struct {
	task.Store
	asked []task.PruneRequest
}

func (s *pruneAsked) Prune(_ context.Context, req task.PruneRequest) (task.PruneReply, error) {
	s.asked = append(s.asked, req)
	return task.PruneReply{}, nil
}

func TestPrune_TheWorkerGivesItsOwnClock(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &pruneAsked{Store: b.store}
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(store)
		began := time.Now()
		time.Sleep(time.Hour)
		b.stop(g, 0)
		if len(store.asked) < 3 {
			t.Fatalf("%d times in an hour", len(store.asked))
		}
		last := began
		for _, req := range store.asked {
			if !req.Clock.After(last) || req.Clock.After(time.Now()) {
				t.Errorf("the clock is %v, after %v", req.Clock, last)
			}
			last = req.Clock
		}
	})
}

func TestEnqueueManyKeepsOrderKeysAndIDs(t *testing.T) {
	bubble(t, func(b *bench) {
		k := task.Kind[int]{Name: "many", Queue: "bulk"}
		var tasks []task.NewTask
		for i := range 12_000 {
			var opt *task.EnqueueOptions
			if i%5000 == 7 {
				opt = &task.EnqueueOptions{Key: "same"}
			}
			n, err := k.Prepare(i, opt)
			if err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, n)
		}
		for again := range 2 {
			done, err := b.client.EnqueueMany(b.t.Context(), tasks)
			if err != nil || len(done) != len(tasks) {
				t.Fatalf("%d, %v", len(done), err)
			}
			for i, d := range done {
				keyed := i%5000 == 7
				if want := again == 1 || keyed && i > 7; d.Existed != want || !keyed && d.ID != tasks[i].ID || keyed && d.ID != tasks[7].ID {
					t.Fatalf("task %d: %+v, existed should be %v", i, d, want)
				}
			}
		}
		counts, err := b.client.Count(b.t.Context())
		want := []task.Count{{Queue: "bulk", Kind: "many", Status: task.StatusQueued, N: 11_998}}
		if err != nil || !slices.Equal(counts.Tasks, want) {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestARunThatIsCutOffIsToldBeforeItsLeaseEnds(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.CancelOnDisconnect = true
		causes := make(chan error, 1)
		b.handle = func(ctx context.Context, r *task.Run) error {
			if r.Task().Runs > 1 {
				return nil
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		}
		s := &faultyStore{Store: b.store}
		g := b.serve(s)
		b.enqueue()
		synctest.Wait()
		began := time.Now()
		s.cut(true)
		cause := <-causes
		if took := time.Since(began); !errors.Is(cause, task.ErrDisconnected) || took >= 15*time.Second || took < 9*time.Second {
			t.Errorf("%v after %v, want ErrDisconnected before the lease of 15 s ends", cause, took)
		}
		s.cut(false)
		time.Sleep(time.Minute)
		b.stop(g, 0)
	})
}
