package task_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// findCounter counts the reads of a store.
type findCounter struct {
	task.Store
	finds atomic.Int64
	err   atomic.Pointer[error]
}

func (s *findCounter) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	s.finds.Add(1)
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Find(ctx, q)
}

func TestWait_HundredsShareTheirLooks(t *testing.T) {
	bubble(t, func(b *bench) {
		const waiters = 300
		s := &findCounter{Store: b.store}
		c := task.NewClient(s)
		var all sync.WaitGroup
		ids := b.many(waiters)
		for i, id := range ids {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 3 * time.Millisecond) // they come in the course of a second
				of := c
				if i%2 == 0 {
					of = c.WithTx(nil) // shares with the client that it was made of
				}
				ended := time.Now()
				got, err := of.Wait(b.t.Context(), id)
				if err != nil || got.ID != id || got.Status != task.StatusCancelled {
					t.Errorf("%+v, %v", got, err)
				}
				if late := time.Since(got.Finished); late > time.Second || time.Since(ended) < 0 {
					t.Errorf("told after %v", late)
				}
			})
		}
		time.Sleep(5 * time.Second)
		s.finds.Store(0)
		const span = 60
		time.Sleep(span * time.Second)
		if n := s.finds.Load(); n < span || n > 2*span {
			t.Errorf("%d looks in %d s, for %d who wait", n, span, waiters)
		}
		for _, id := range ids {
			if err := c.Cancel(b.t.Context(), id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		all.Wait()
		s.finds.Store(0)
		time.Sleep(time.Minute)
		if n := s.finds.Load(); n != 0 {
			t.Errorf("%d looks while nobody waits", n)
		}
		synctest.Wait() // and the bubble ends only without a goroutine
	})
}

func TestWait_OneIsToldSoonAndHasItsOwnContextAndErrors(t *testing.T) {
	bubble(t, func(b *bench) {
		s := &findCounter{Store: b.store}
		c := task.NewClient(s)
		id := b.enqueue()
		var long sync.WaitGroup
		long.Go(func() { // long waits slow down no other
			if _, err := c.Wait(b.t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		began := time.Now()
		if _, err := c.Wait(b.t.Context(), "0197c0de-0000-7000-8000-000000000000"); !errors.Is(err, task.ErrNotFound) || time.Since(began) > 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		why := errors.New("enough")
		short, cancel := context.WithTimeoutCause(b.t.Context(), 30*time.Millisecond, why)
		defer cancel()
		if got, err := c.Wait(short, id); !errors.Is(err, why) || got.ID != id || got.Status != task.StatusQueued {
			t.Errorf("%+v, %v", got, err)
		}
		other := b.enqueue()
		var told sync.WaitGroup
		told.Go(func() {
			if _, err := c.Wait(b.t.Context(), other); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(25 * time.Millisecond)
		began = time.Now()
		if err := c.Cancel(b.t.Context(), other); err != nil {
			t.Fatal(err)
		}
		told.Wait()
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("told after %v", took)
		}
		if err := c.Cancel(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		long.Wait()

		broken := errors.New("broken")
		s.err.Store(&broken)
		if _, err := c.Wait(b.t.Context(), id); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}
