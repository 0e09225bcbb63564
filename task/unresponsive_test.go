package task_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// sleepy ignores its context in its first run and succeeds after a time.
func (b *bench) sleepy(d time.Duration) {
	b.handle = func(_ context.Context, r *task.Run) error {
		r.Log("begun")
		if r.Task().Runs == 1 {
			time.Sleep(d)
		}
		return nil
	}
}

func TestUnresponsive_AnUnresponsiveHandlersTaskIsInterruptedByTheDeadlineAndTakenUpWhenTheStopIsOver(t *testing.T) {
	bubble(t, func(b *bench) {
		b.sleepy(time.Minute)
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		began := time.Now()
		b.stop(g, 3)
		got := b.want(id, task.StatusInterrupted, task.ReasonDeadline, 0, 1, 0)
		if over := got.RunAt.Sub(began); over != 10*time.Second {
			t.Errorf("claimable %v after the stop began, which has 10s", over)
		}
		if !strings.Contains(got.Error, "the handler is unresponsive: 375ms after the interrupt") {
			t.Errorf("error %q", got.Error)
		}
		if log, err := b.client.Log(t.Context(), id); err != nil || string(log) != "begun\n" {
			t.Errorf("log %q, %v", log, err)
		}

		next := b.serve(b.store)
		time.Sleep(time.Until(got.RunAt) - time.Millisecond)
		b.want(id, task.StatusInterrupted, task.ReasonDeadline, 0, 1, 0)
		time.Sleep(time.Second)
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		time.Sleep(time.Minute) // the unresponsive one returns, and its result is ignored
		runs, err := b.client.History(t.Context(), id)
		if err != nil || len(runs) != 2 || runs[0].Reason != task.ReasonDeadline || runs[0].Crashed {
			t.Errorf("%+v, %v", runs, err)
		}
		b.stop(next, 0)
	})
}

func TestUnresponsive_TheReportOfAStopShowsWhereAnUnresponsiveHandlerStands(t *testing.T) {
	bubble(t, func(b *bench) {
		b.sleepy(time.Minute)
		g := b.serve(b.store)
		for range 3 {
			b.enqueue()
		}
		synctest.Wait()
		g.Stop(nil)
		r := g.Wait()
		if len(r.Abandoned) != 1 {
			t.Fatalf("%+v", r)
		}
		at := r.Abandoned[0].Stack
		if !strings.Contains(at, "  3 at\n  time.Sleep\n") || !strings.Contains(at, "task/unresponsive_test.go:") || strings.Contains(at, "execute") {
			t.Errorf("it is said to stand\n%s", at)
		}
		time.Sleep(time.Minute)
	})
}

func TestUnresponsive_WhatAnUnresponsiveHandlerReturnsInTheLastMomentComesTooLate(t *testing.T) {
	bubble(t, func(b *bench) {
		var log bytes.Buffer
		b.log = slog.New(slog.NewTextHandler(&log, nil))
		stale := 0
		b.observe = func(_ context.Context, e task.Event) {
			if e.Stale {
				stale++
			}
		}
		// Abandoned after 9.5 s, and decided an eighth before.
		b.sleepy(9*time.Second + 380*time.Millisecond)
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		b.want(id, task.StatusInterrupted, task.ReasonDeadline, 0, 1, 0)
		if stale != 1 || !strings.Contains(log.String(), "what it did in the end came too late") {
			t.Errorf("%d stale ends were observed; log:\n%s", stale, &log)
		}
	})
}

func TestUnresponsive_AHandlerThatReturnsJustBeforeItIsTakenForUnresponsiveIsHeard(t *testing.T) {
	bubble(t, func(b *bench) {
		b.sleepy(9*time.Second + 370*time.Millisecond)
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
	})
}

func TestUnresponsive_AnUnresponsiveHandlersTaskStaysRunningUntilItsProcessIsGoneWhereTheStoreIsOutOfReach(t *testing.T) {
	bubble(t, func(b *bench) {
		b.sleepy(time.Minute)
		cut := &faultyStore{Store: b.store}
		g := b.serve(cut)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		g.Stop(nil)
		time.Sleep(time.Second) // the stop has been announced
		cut.cut(true)
		b.stop(g, 3)
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.store.Kill(b.get(id).Worker)
		next := b.serve(b.store)
		synctest.Wait()
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		time.Sleep(time.Minute)
		b.stop(next, 0)
	})
}

func TestUnresponsive_AnUnresponsiveHandlerWhoseTaskIsSomebodyElsesRecordsNothing(t *testing.T) {
	bubble(t, func(b *bench) {
		var late, begun atomic.Int32
		b.observe = func(_ context.Context, e task.Event) {
			if e.Stale {
				late.Add(1)
			}
		}
		b.handle = func(context.Context, *task.Run) error {
			if begun.Add(1) == 1 {
				time.Sleep(time.Minute)
			}
			return nil
		}
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.store.Kill(b.get(id).Worker) // as if its process were dead
		next := b.serve(b.store)
		time.Sleep(10 * time.Second)
		done := b.want(id, task.StatusSucceeded, "", 0, 0, 1)
		b.stop(g, 3)
		if n := late.Load(); n != 0 {
			t.Errorf("%d ends came too late before the handler had returned", n)
		}
		time.Sleep(time.Minute)
		if got := b.get(id); late.Load() != 1 || got.Run != done.Run || got.Status != task.StatusSucceeded {
			t.Errorf("%d ends came too late; the task is %+v", late.Load(), got)
		}
		b.stop(next, 0)
	})
}

// standing is a store in which a checkpoint is never written.
type standing struct{ task.Store }

func (s standing) Apply(ctx context.Context, c []task.Change) []error {
	if c[0].Checkpoint != nil {
		<-ctx.Done()
		return []error{context.Cause(ctx)}
	}
	return s.Store.Apply(ctx, c)
}

func TestUnresponsive_AHandlerInTheMiddleOfASaveReturnsBeforeItIsTakenForUnresponsive(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error { return r.Save(ctx, 1) }
		g := b.serve(standing{b.store})
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
	})
}

func TestUnresponsive_WithoutADeadlineNobodyIsTakenForUnresponsive(t *testing.T) {
	bubble(t, func(b *bench) {
		b.sleepy(time.Hour)
		ctx, interrupt := context.WithCancel(b.t.Context())
		quiet := slog.New(slog.DiscardHandler)
		task.Handle(&b.mux, b.kind, func(ctx context.Context, r *task.Run, _ args) error { return b.handle(ctx, r) })
		w, err := task.NewWorker(task.WorkerConfig{Store: b.store, Mux: &b.mux, Logger: quiet})
		if err != nil {
			b.t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- w.Serve(ctx) }()
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		interrupt()
		if err := <-served; err != nil {
			t.Error(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
	})
}

// silentStore is a store that can fall silent: calls do not come back until their context ends.
type silentStore struct {
	task.Store
	silent atomic.Bool
}

func (s *silentStore) wait(ctx context.Context) error {
	if !s.silent.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *silentStore) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, req)
}

func (s *silentStore) Apply(ctx context.Context, c []task.Change) []error {
	if err := s.wait(ctx); err != nil {
		errs := make([]error, len(c))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	return s.Store.Apply(ctx, c)
}

func (s *silentStore) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	if err := s.wait(ctx); err != nil {
		return task.BeatReply{}, err
	}
	return s.Store.Heartbeat(ctx, b)
}

func TestStop_WhileTheStoreIsSilentEndsWithWhatIsNotRecordedAndAbandonsNobody(t *testing.T) {
	for _, tasks := range []int{0, 3} {
		bubble(t, func(b *bench) {
			b.hold()
			store := &silentStore{Store: b.store}
			g := b.serve(store)
			for range tasks {
				b.enqueue()
			}
			time.Sleep(time.Second)
			store.silent.Store(true)
			time.Sleep(time.Second)
			g.Stop(nil)
			r := g.Wait()
			code, said := 0, ""
			if tasks > 0 {
				code, said = 75, "handlers have returned; the store did not answer, and 3 runs are not recorded"
			}
			if r.ExitCode() != code || len(r.Abandoned) != 0 || !strings.Contains(r.String(), said) {
				t.Errorf("with %d tasks: %v", tasks, r)
			}
		})
	}
}

// A process in a container that has used up its processor time stands still for up to 100 ms. The
// worker of a grace of 30 seconds gives up the store earlier than that before it is abandoned.
func TestStop_WhileTheStoreIsSilentGivesItUpMoreThanAPauseOfTheProcessorBeforeTheEnd(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hold()
		b.grace = 30 * time.Second
		store := &silentStore{Store: b.store}
		g := b.serve(store)
		b.enqueue()
		time.Sleep(time.Second)
		store.silent.Store(true)
		began := time.Now()
		g.Stop(nil)
		r := g.Wait()
		const abandon = 28500 * time.Millisecond // half of a reserve of 3 s before the end
		if took := time.Since(began); r.ExitCode() != 75 || took < abandon-time.Second || took > abandon-110*time.Millisecond {
			t.Errorf("after %v: %v", took, r)
		}
	})
}

// busyDisk is a store whose disk is busy: what it has begun it ends, after a while.
type busyDisk struct {
	task.Store
	stopping atomic.Bool
	locked   bool // the removal of a worker cannot begin
}

func (s *busyDisk) Apply(ctx context.Context, c []task.Change) []error {
	if s.stopping.Load() {
		time.Sleep(60 * time.Millisecond)
	}
	return s.Store.Apply(context.WithoutCancel(ctx), c)
}

func (s *busyDisk) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	if b.State == task.WorkerStopped {
		if s.locked {
			<-ctx.Done()
			return task.BeatReply{}, context.Cause(ctx)
		}
		time.Sleep(80 * time.Millisecond)
	}
	return s.Store.Heartbeat(context.WithoutCancel(ctx), b)
}

func TestStop_AWorkerThatCannotLeaveInTimeIsNotAbandoned(t *testing.T) {
	for _, c := range []struct {
		locked bool
		before time.Duration // Abandon, when the handler returns
	}{{false, 130 * time.Millisecond}, {true, 700 * time.Millisecond}} {
		bubble(t, func(b *bench) {
			store := &busyDisk{Store: b.store, locked: c.locked}
			b.handle = func(ctx context.Context, _ *task.Run) error {
				<-ctx.Done()
				if by := new(lastcall.InterruptError); errors.As(context.Cause(ctx), &by) {
					time.Sleep(time.Until(by.Until) - c.before)
				}
				return ctx.Err()
			}
			g := b.serve(store)
			id := b.enqueue()
			time.Sleep(time.Second)
			store.stopping.Store(true)
			g.Stop(nil)
			if r := g.Wait(); r.ExitCode() != 0 || len(r.Abandoned) != 0 {
				t.Errorf("%+v: %v", c, r)
			}
			b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		})
	}
}
