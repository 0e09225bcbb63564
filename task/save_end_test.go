package task_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// slowEnds is a store that is slow at recording ends, and records the writes of runs that go on.
type slowEnds struct {
	task.Store
	saves atomic.Int64
}

func (s *slowEnds) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Status == task.StatusRunning {
		s.saves.Add(int64(len(changes)))
	} else {
		time.Sleep(5 * time.Second)
	}
	return s.Store.Apply(ctx, changes)
}

func TestSave_OfProgressAndLogIsLeftToTheEndOnceTheHandlerHasReturned(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &slowEnds{Store: b.store}
		stop := b.crowd(store, 1, func(_ context.Context, r *task.Run) error {
			r.SetProgress(1, "done")
			r.Log("a line")
			return nil
		})
		time.Sleep(10 * time.Second)
		stop(0)
		if n := store.saves.Load(); n != 0 {
			t.Errorf("%d changes within the run were written while its end was on its way", n)
		}
		got, err := b.client.Find(b.t.Context(), task.Query{})
		if err != nil || len(got) != 1 || got[0].Progress.Message != "done" {
			t.Fatalf("%+v, %v", got, err)
		}
		if log, err := b.client.Log(b.t.Context(), got[0].ID); err != nil || string(log) != "a line\n" {
			t.Errorf("log %q, %v", log, err)
		}
	})
}

func TestLog_ALineThatWaitsForACallIsWrittenWithTheEnd(t *testing.T) {
	bubble(t, func(b *bench) {
		store, release := &savings{Store: b.store}, make(chan struct{})
		store.apply = func(ctx context.Context, changes []task.Change) []error {
			<-release
			return b.store.Apply(ctx, changes)
		}
		var mu sync.Mutex
		order := 0
		stop := b.crowd(store, 3, func(ctx context.Context, r *task.Run) error {
			mu.Lock()
			order++
			mine := order
			mu.Unlock()
			if mine < 3 { // both calls are busy for a while
				time.Sleep(time.Duration(mine) * 100 * time.Millisecond)
				return r.Save(ctx, 1)
			}
			r.Log("a line")
			time.Sleep(1500 * time.Millisecond) // it has been handed over by now
			r.Log("the last line")
			return nil
		})
		time.Sleep(5 * time.Second)
		done, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusSucceeded})
		if err != nil || len(done) != 1 {
			t.Fatalf("%d succeeded, %v", len(done), err)
		}
		if log, err := b.client.Log(b.t.Context(), done[0].ID); err != nil || string(log) != "a line\nthe last line\n" {
			t.Errorf("log %q, %v", log, err)
		}
		close(release)
		stop(0)
	})
}

func TestLog_ALineOnItsWayIsWrittenBeforeTheEnd(t *testing.T) {
	bubble(t, func(b *bench) {
		var flushed bool
		slow := &slowLog{Store: b.store, flushed: &flushed}
		stop := b.crowd(slow, 1, func(ctx context.Context, r *task.Run) error {
			r.Log("a line")
			time.Sleep(1005 * time.Millisecond) // in the middle of its writing
			return nil
		})
		time.Sleep(5 * time.Second)
		stop(0)
		done, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusSucceeded})
		if err != nil || len(done) != 1 || !flushed {
			t.Fatalf("%d succeeded, %v; the line was on its way: %t", len(done), err, flushed)
		}
		if log, err := b.client.Log(b.t.Context(), done[0].ID); err != nil || string(log) != "a line\n" {
			t.Errorf("log %q, %v", log, err)
		}
	})
}

// slowLog is a store that takes 10 ms for a change within a run.
type slowLog struct {
	task.Store
	flushed *bool
}

func (s *slowLog) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Status == task.StatusRunning {
		*s.flushed = true
		time.Sleep(10 * time.Millisecond)
	}
	return s.Store.Apply(ctx, changes)
}
