package task_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// turning has handlers that are short until that many have begun; later ones wait for their context
// or the channel.
func (b *bench) turning(short int) (open chan struct{}) {
	open = make(chan struct{})
	var begun atomic.Int32
	b.handle = func(ctx context.Context, _ *task.Run) error {
		if begun.Add(1) <= int32(short) {
			time.Sleep(5 * time.Millisecond)
			return nil
		}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return open
}

func TestPrefetch_WhatWasClaimedAheadIsGivenBackWhenTheSlotsStayTaken(t *testing.T) {
	bubble(t, func(b *bench) {
		open := b.turning(500)
		var mu sync.Mutex
		events := make(map[task.Status]int)
		b.observe = func(_ context.Context, e task.Event) {
			mu.Lock()
			defer mu.Unlock()
			events[e.Status]++
		}
		ids := b.many(900)
		g := b.serve(&distant{Store: b.store, takes: 5 * time.Millisecond})
		time.Sleep(500 * time.Millisecond)
		if n := b.statuses(); n[task.StatusSucceeded] != 500 || n[task.StatusRunning] <= slots {
			t.Fatalf("%v: nothing waits for a slot", n)
		}
		time.Sleep(2 * time.Second)
		if n := b.statuses(); n[task.StatusRunning] != slots || n[task.StatusQueued] != 390 {
			t.Errorf("%v, want %d running and all others queued", n, slots)
		}
		for _, id := range ids {
			if got := b.get(id); got.Status == task.StatusQueued && !got.RunAt.Equal(got.Created) {
				t.Errorf("a task that was given back has lost its place: claimable since %v, created %v", got.RunAt, got.Created)
			}
		}
		close(open)
		time.Sleep(time.Minute)
		if n := b.statuses(); n[task.StatusSucceeded] != 900 {
			t.Errorf("in the end %v", n)
		}
		mu.Lock()
		defer mu.Unlock()
		if events[task.StatusRunning] != 900 || events[task.StatusSucceeded] != 900 || len(events) != 2 {
			t.Errorf("an observer heard of %v", events)
		}
		b.stop(g, 0)
	})
}

func TestPrefetch_WhatWasClaimedAheadIsGivenBackAtLastCall(t *testing.T) {
	bubble(t, func(b *bench) {
		b.turning(500)
		ids := b.many(900)
		g := b.serve(&distant{Store: b.store, takes: 5 * time.Millisecond})
		time.Sleep(500 * time.Millisecond)
		if n := b.statuses(); n[task.StatusRunning] <= slots {
			t.Fatalf("%v: nothing waits for a slot", n)
		}
		g.Stop(nil)
		time.Sleep(20 * time.Millisecond) // a claim may be under way
		if n := b.statuses(); n[task.StatusRunning] != slots || n[task.StatusQueued] != 390 {
			t.Errorf("after last call %v, want %d running and all others queued", n, slots)
		}
		if code := g.Wait().ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		given := 0
		for _, id := range ids {
			got := b.get(id)
			if got.Status == task.StatusQueued && got.Runs > 0 {
				given++
			}
			if got.Attempts != 0 || got.Status == task.StatusQueued && got.Interruptions != 0 {
				t.Errorf("a task that had not begun: %+v", got)
			}
		}
		if given == 0 {
			t.Error("nothing was given back")
		}
	})
}

func TestPrefetch_AnInterruptedTaskThatIsGivenBackIsInterruptedStill(t *testing.T) {
	bubble(t, func(b *bench) {
		b.turning(0)
		ids := b.many(2 * slots)
		first, second := b.serve(b.store), b.serve(b.store)
		time.Sleep(3 * time.Second) // so that no slot is kept for interrupted tasks
		first.Stop(nil)
		b.stop(second, 0)
		first.Wait()
		if n := b.statuses(); n[task.StatusInterrupted] != len(ids) {
			t.Fatalf("%v, want %d interrupted", n, len(ids))
		}
		for range 500 {
			if _, err := kind.Enqueue(t.Context(), b.client, args{N: 1}, &task.EnqueueOptions{Priority: 1}); err != nil {
				t.Fatal(err)
			}
		}
		hold := b.handle
		b.handle = func(ctx context.Context, r *task.Run) error {
			if r.Task().Priority == 0 {
				return hold(ctx, r)
			}
			time.Sleep(5 * time.Millisecond)
			return nil
		}
		g := b.serve(&distant{Store: b.store, takes: 5 * time.Millisecond})
		time.Sleep(500 * time.Millisecond)
		if n := b.statuses(); n[task.StatusRunning] <= slots {
			t.Fatalf("%v: nothing waits for a slot", n)
		}
		b.stop(g, 0)
		streaks := make(map[int]int)
		for _, id := range ids {
			got := b.get(id)
			reason := task.ReasonStop
			if got.Interruptions == 1 {
				reason = task.ReasonReleased
			}
			streaks[b.want(id, task.StatusInterrupted, reason, 0, got.InterruptStreak, 0).InterruptStreak]++
		}
		if streaks[1] != slots || streaks[2] != slots {
			t.Errorf("interruptions %v: want 1 for the %d that had not begun, and 2 for the others", streaks, slots)
		}
	})
}

func TestWorker_AHandlerThatIgnoresItsTimeoutKeepsItsSlotAndItsTaskWaits(t *testing.T) {
	bubble(t, func(b *bench) {
		k := kind
		k.Timeout, k.Concurrency = time.Minute, 1
		ignores := true
		task.Handle(&b.mux, k, func(context.Context, *task.Run, args) error {
			if !ignores {
				return nil
			}
			ignores = false
			time.Sleep(time.Hour)
			return errors.New("at last")
		})
		g := b.serve(b.store)
		first := b.enqueue()
		synctest.Wait()
		second := b.enqueue()
		time.Sleep(59 * time.Minute)
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		b.want(second, task.StatusQueued, "", 0, 0, 0)
		time.Sleep(time.Minute + time.Second)
		b.want(first, task.StatusQueued, "", 1, 0, 0)
		b.want(second, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestWorker_ConcurrencyIsBoundedInTotalAndByKind(t *testing.T) {
	bubble(t, func(b *bench) {
		var now, most, narrow, mostNarrow atomic.Int32
		work := func(now, most *atomic.Int32) {
			n := now.Add(1)
			most.Store(max(most.Load(), n))
			time.Sleep(time.Second)
			now.Add(-1)
		}
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { work(&now, &most); return nil })
		task.Handle(&b.mux, task.Kind[args]{Name: "narrow", Concurrency: 2}, func(context.Context, *task.Run, args) error {
			work(&narrow, &mostNarrow)
			return nil
		})
		for range 30 {
			b.enqueue()
			if _, err := b.client.Enqueue(t.Context(), "narrow", []byte("{}"), nil); err != nil {
				t.Fatal(err)
			}
		}
		g := b.serve(b.store)
		time.Sleep(time.Minute)
		left, err := b.client.Find(t.Context(), task.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		left = slices.DeleteFunc(left, func(t task.Task) bool { return t.Status == task.StatusSucceeded })
		if len(left) != 0 || mostNarrow.Load() != 2 || most.Load() < 8 || most.Load() > 10 {
			t.Errorf("%d left; at most %d and %d at once", len(left), most.Load(), mostNarrow.Load())
		}
		b.stop(g, 0)
	})
}
