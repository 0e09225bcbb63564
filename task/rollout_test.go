package task_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestReserve_WhatIsHandedOverInARolloutRunsAtOnceBeforeABacklog(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 12
		long := task.Kind[args]{Name: "long", OnStop: task.InterruptOnStop}
		short := task.Kind[args]{Name: "short"}
		task.Handle(&b.mux, long, func(ctx context.Context, _ *task.Run, _ args) error { <-ctx.Done(); return ctx.Err() })
		task.Handle(&b.mux, short, func(context.Context, *task.Run, args) error { time.Sleep(5 * time.Second); return nil })
		enqueue := func(k task.Kind[args], n int) (ids []string) {
			for range n {
				e, err := k.Enqueue(t.Context(), b.client, args{N: 1}, nil)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, e.ID)
			}
			return ids
		}
		var groups []*lastcall.Group
		var all []string
		for range 3 { // each begins what fills its slots before the next one starts
			all = append(all, enqueue(long, 3)...)
			time.Sleep(time.Millisecond) // they come first
			enqueue(short, 9)
			groups = append(groups, b.serve(b.store))
			time.Sleep(2300 * time.Millisecond)
		}
		enqueue(short, 1000)
		time.Sleep(7 * time.Second)
		for i := range groups {
			before := b.running(all)
			next := b.serve(b.store)
			time.Sleep(1300 * time.Millisecond) // until it is seen to be ready
			groups[i].Stop(nil)
			time.Sleep(time.Second)
			after := b.running(all)
			if len(after) != len(all) {
				t.Errorf("a second after stop %d, %d of %d tasks run", i, len(after), len(all))
			}
			moved := 0
			for id, worker := range after {
				if before[id] != worker {
					moved++
				}
			}
			if moved != 3 {
				t.Errorf("at stop %d, %d tasks were handed over, want 3", i, moved)
			}
			if code := groups[i].Wait().ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			groups[i] = next
		}
		for _, id := range all {
			if got := b.get(id); got.Interruptions != 1 {
				t.Errorf("a task was handed over %d times", got.Interruptions)
			}
		}
		for _, g := range groups {
			g.Stop(nil)
		}
		for _, g := range groups {
			g.Wait()
		}
	})
}

// running returns the workers of those of the tasks that run.
func (b *bench) running(ids []string) map[string]string {
	b.t.Helper()
	found, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusRunning, Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	workers := make(map[string]string)
	for _, f := range found {
		if slices.Contains(ids, f.ID) {
			workers[f.ID] = f.Worker
		}
	}
	return workers
}

func TestReserve_OneSlotTakesQueuedTasksTwoSecondsAfterItsStartWhoeverStops(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 1
		b.handle = func(context.Context, *task.Run) error { time.Sleep(8 * time.Second); return nil }
		first := b.enqueue()
		old := b.serve(b.store)
		time.Sleep(100 * time.Millisecond)
		if got := b.get(first); got.Status != task.StatusRunning {
			t.Fatalf("a worker that is alone has not begun: %s", got.Status)
		}
		old.Stop(nil)
		time.Sleep(100 * time.Millisecond)
		second := b.enqueue()
		next := b.serve(b.store)
		time.Sleep(1900 * time.Millisecond)
		if got := b.get(second); got.Status != task.StatusQueued {
			t.Errorf("in the first two seconds the only slot is not kept: the task is %s", got.Status)
		}
		time.Sleep(400 * time.Millisecond)
		if got := b.get(second); got.Status != task.StatusRunning {
			t.Errorf("after two seconds a task is %s", got.Status)
		}
		old.Wait()
		time.Sleep(20 * time.Second)
		b.stop(next, 0)
	})
}
