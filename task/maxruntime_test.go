package task_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// long is a kind whose tasks take ten steps of ten seconds, and make room after half a minute.
var long = task.Kind[args]{Name: "long", MaxRunTime: 30 * time.Second}

// course is what tasks do on a bench.
type course struct {
	mu     sync.Mutex
	begins []string // of runs, in their order
	steps  map[string][]int
	at     map[string]time.Duration // since the beginning of the test, of the last beginning
	now    map[string]int           // how many run, by kind
	most   map[string]int
	start  time.Time
}

func (c *course) begin(r *task.Run) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, name := r.ID(), r.Task().Kind
	c.begins = append(c.begins, id)
	c.at[id] = time.Since(c.start)
	c.now[name]++
	c.most[name] = max(c.most[name], c.now[name])
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now[name]--
	}
}

// tenSteps takes the steps that are left, and saves after each.
func (c *course) tenSteps(ctx context.Context, r *task.Run, _ args) error {
	defer c.begin(r)()
	var at int
	if _, err := r.Load(&at); err != nil {
		return err
	}
	for ; at < 10; at++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Second):
		}
		c.mu.Lock()
		c.steps[r.ID()] = append(c.steps[r.ID()], at)
		c.mu.Unlock()
		if err := r.Save(ctx, at+1); err != nil {
			return err
		}
	}
	return nil
}

// course registers the kind long, with the given policy, and a kind k of tasks that take five
// seconds.
func (b *bench) course(k task.Kind[args]) *course {
	c := &course{steps: make(map[string][]int), at: make(map[string]time.Duration), now: make(map[string]int), most: make(map[string]int), start: time.Now()}
	task.Handle(&b.mux, k, c.tenSteps)
	task.Handle(&b.mux, kind, func(_ context.Context, r *task.Run, _ args) error {
		defer c.begin(r)()
		time.Sleep(5 * time.Second)
		return nil
	})
	return c
}

func (b *bench) enqueueOf(k task.Kind[args], opt *task.EnqueueOptions) string {
	b.t.Helper()
	e, err := k.Enqueue(b.t.Context(), b.client, args{}, opt)
	if err != nil {
		b.t.Fatal(err)
	}
	return e.ID
}

// inTurn checks the order in which runs began, and that no step of the long tasks was taken twice.
func (c *course) inTurn(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.begins, want) {
		t.Errorf("runs began in the order %q, want %q", c.begins, want)
	}
	for id, steps := range c.steps {
		if !slices.Equal(steps, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("the steps of %s: %v", id, steps)
		}
	}
}

func TestMaxRunTime_MakesRoomAtASaveForThoseThatWait(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 1
		c := b.course(long)
		g := b.serve(b.store)
		first := b.enqueueOf(long, nil)
		time.Sleep(5 * time.Second)
		second := b.enqueue()
		time.Sleep(time.Second)
		third := b.enqueue()
		time.Sleep(23 * time.Second)
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		time.Sleep(3 * time.Second)
		b.want(first, task.StatusQueued, task.ReasonTurn, 0, 1, 0)
		time.Sleep(5 * time.Minute)
		if got := b.want(first, task.StatusSucceeded, "", 0, 1, 0); got.Runs != 2 {
			t.Errorf("%d runs", got.Runs)
		}
		c.inTurn(t, first, second, third, first)
		if at := c.at[second]; at != 30*time.Second {
			t.Errorf("the first of those that waited began after %v", at)
		}
		runs, err := b.client.History(b.t.Context(), first)
		if err != nil || len(runs) != 2 || runs[0].Status != task.StatusQueued || runs[0].Reason != task.ReasonTurn || runs[0].Error != "" {
			t.Errorf("%+v, %v", runs, err)
		}
		for _, id := range []string{second, third} {
			if got := b.get(id); got.Runs != 1 {
				t.Errorf("one that waited had %d runs", got.Runs)
			}
		}
		b.stop(g, 0)
	})
}

func TestMaxRunTime_GoesOnWhileNobodyWaitsThatCouldHaveTheSlot(t *testing.T) {
	for what, enqueue := range map[string]func(b *bench) string{
		"nobody":                   func(*bench) string { return "" },
		"one that is delayed":      func(b *bench) string { return b.enqueueOf(kind, &task.EnqueueOptions{Delay: time.Hour}) },
		"one of a lower priority":  func(b *bench) string { return b.enqueueOf(kind, &task.EnqueueOptions{Priority: -1}) },
		"one of a kind of others":  func(b *bench) string { return b.enqueueOf(task.Kind[args]{Name: "unknown"}, nil) },
		"one in a queue of others": func(b *bench) string { return b.enqueueOf(kind, &task.EnqueueOptions{Queue: "paused"}) },
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.slots = 1
				c := b.course(long)
				if err := b.client.Pause(b.t.Context(), "paused", nil); err != nil {
					t.Fatal(err)
				}
				g := b.serve(b.store)
				first := b.enqueueOf(long, nil)
				time.Sleep(time.Second)
				other := enqueue(b)
				time.Sleep(98 * time.Second)
				b.want(first, task.StatusRunning, "", 0, 0, 0)
				if other != "" {
					if got := b.get(other); got.Runs != 0 {
						t.Errorf("the one that waits was claimed %d times", got.Runs)
					}
				}
				time.Sleep(2 * time.Second)
				if got := b.want(first, task.StatusSucceeded, "", 0, 0, 0); got.Runs != 1 {
					t.Errorf("%d runs", got.Runs)
				}
				if len(c.steps[first]) != 10 {
					t.Errorf("steps %v", c.steps[first])
				}
				b.stop(g, 0)
			})
		})
	}
}

func TestMaxRunTime_EachOfTwoMakesRoomForOne(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 2
		c := b.course(long)
		g := b.serve(b.store)
		first := b.enqueueOf(long, nil)
		time.Sleep(time.Second)
		second := b.enqueueOf(long, nil)
		time.Sleep(9 * time.Second)
		third := b.enqueue()
		time.Sleep(5 * time.Minute)
		c.inTurn(t, first, second, third, first, second) // the second one made room for the first
		for _, id := range []string{first, second} {
			b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		}
		b.stop(g, 0)
	})
}

func TestMaxRunTime_ATaskOfALimitedKindMakesRoomForItsOwnKind(t *testing.T) {
	bubble(t, func(b *bench) {
		one := long
		one.Concurrency = 1
		b.slots = 3
		c := b.course(one)
		g := b.serve(b.store)
		first := b.enqueueOf(one, nil)
		time.Sleep(time.Second)
		second := b.enqueueOf(one, nil)
		time.Sleep(20 * time.Second)
		other := b.enqueue() // which finds a free slot
		time.Sleep(20 * time.Minute)
		c.inTurn(t, first, other, second, first, second, first, second, first, second)
		if c.most["long"] != 1 {
			t.Errorf("%d tasks of the kind ran at once", c.most["long"])
		}
		b.stop(g, 0)
	})
}

func TestMaxRunTime_WhatWaitsIsGivenBackWhenTheHandlerDoesNotReturn(t *testing.T) {
	bubble(t, func(b *bench) {
		var cause error
		task.Handle(&b.mux, long, func(ctx context.Context, r *task.Run, _ args) error {
			time.Sleep(time.Minute)
			if err := r.Save(ctx, "half"); err != nil {
				return err
			}
			cause = context.Cause(ctx)
			time.Sleep(20 * time.Second)
			return nil
		})
		b.handle = func(context.Context, *task.Run) error { return nil }
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error { return b.handle(ctx, r) })
		b.slots = 1
		g := b.serve(b.store)
		first := b.enqueueOf(long, nil)
		time.Sleep(time.Second)
		second := b.enqueue()
		time.Sleep(65 * time.Second)
		synctest.Wait()
		if !errors.Is(cause, task.ErrTurn) {
			t.Errorf("the context has ended by %v", cause)
		}
		b.want(second, task.StatusQueued, "", 0, 0, 0)
		time.Sleep(20 * time.Second)
		b.want(first, task.StatusSucceeded, "", 0, 0, 0)
		b.want(second, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestMaxRunTime_IsNoReasonAfterLastCall(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 1
		c := b.course(long)
		g := b.serve(b.store)
		first := b.enqueueOf(long, nil)
		time.Sleep(25 * time.Second)
		b.enqueue()
		b.stop(g, 0)
		b.want(first, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		if len(c.begins) != 1 {
			t.Errorf("%d runs began", len(c.begins))
		}
	})
}

func TestMaxRunTime_WhatTheHandlerReturnsThenIsNoAttempt(t *testing.T) {
	for what, c := range map[string]struct {
		end    func(*task.Run) error
		status task.Status
		reason task.Reason
		counts [2]int
		err    string
		check  string
	}{
		"its cause":         {func(*task.Run) error { return task.ErrTurn }, task.StatusQueued, task.ReasonTurn, [2]int{0, 1}, "", `1`},
		"another error":     {func(*task.Run) error { return errors.New("closed") }, task.StatusQueued, task.ReasonTurn, [2]int{0, 1}, "closed", `1`},
		"what it has done":  {func(r *task.Run) error { return r.HandOver(2) }, task.StatusQueued, task.ReasonTurn, [2]int{0, 1}, "", `2`},
		"a permanent error": {func(*task.Run) error { return task.Permanent(errors.New("no")) }, task.StatusFailed, "", [2]int{1, 0}, "no", `1`},
		"nil":               {func(*task.Run) error { return nil }, task.StatusSucceeded, "", [2]int{0, 0}, "", `1`},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(b *bench) {
				var log logBuffer
				b.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
				b.slots, b.kind.MaxRunTime = 1, time.Minute
				release := make(chan struct{})
				var begun atomic.Bool
				b.handle = func(ctx context.Context, r *task.Run) error {
					if begun.Swap(true) {
						<-release
						return nil
					}
					time.Sleep(time.Minute)
					if err := errors.Join(r.Save(ctx, 1), context.Cause(ctx)); !errors.Is(err, task.ErrTurn) {
						t.Errorf("after the save: %v", err)
					}
					return c.end(r)
				}
				g := b.serve(b.store)
				id := b.enqueue()
				time.Sleep(time.Second)
				last := b.enqueue()
				time.Sleep(time.Minute)
				if got := b.want(id, c.status, c.reason, c.counts[0], c.counts[1], 0); got.Error != c.err || string(got.Checkpoint) != c.check {
					t.Errorf("error %q, checkpoint %s", got.Error, got.Checkpoint)
				}
				b.want(last, task.StatusRunning, "", 0, 0, 0)
				if c.reason == task.ReasonTurn && log.String() != "" {
					t.Errorf("a warning: %s", log.String())
				}
				if err := b.client.Cancel(b.t.Context(), id); c.status == task.StatusQueued && err != nil {
					t.Error(err)
				}
				close(release)
				b.stop(g, 0)
			})
		})
	}
}
