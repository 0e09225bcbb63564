package task_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// unclaimable is a store from which nothing can be claimed, like one with a damaged page where the
// claimable tasks are.
type unclaimable struct{ task.Store }

func (unclaimable) Claim(context.Context, task.ClaimRequest) ([]task.Task, error) {
	return nil, errors.New("malformed")
}

func TestClaim_ThatGoesOnFailingIsToldAtOnceAndThenOnceAMinute(t *testing.T) {
	bubble(t, func(b *bench) {
		var log bytes.Buffer // its handler writes a line at a time
		b.handle = func(context.Context, *task.Run) error { return nil }
		b.log = slog.New(slog.NewTextHandler(&log, nil))
		g := b.serve(unclaimable{b.store})
		b.enqueue()
		time.Sleep(10*time.Minute + time.Second)
		b.stop(g, 0)
		if n := bytes.Count(log.Bytes(), []byte("cannot claim; trying again")); n < 9 || n > 11 {
			t.Errorf("told %d times in ten minutes:\n%s", n, &log)
		}
	})
}

func TestClaim_WhoseAnswerWasLostIsFoundAgain(t *testing.T) {
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

// oblivious confirms the first end of a run and forgets it, like a database that loses its last
// commits when it restarts.
type oblivious struct {
	task.Store
	lost, compared atomic.Bool
}

func (o *oblivious) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	reply, err := o.Store.Heartbeat(ctx, b)
	if o.lost.Load() && b.ListsAllRuns {
		o.compared.Store(true)
	}
	reply.Restarted = o.lost.Load() && !o.compared.Load()
	return reply, err
}

func (o *oblivious) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Status == task.StatusSucceeded && !o.lost.Swap(true) {
		return make([]error, len(changes))
	}
	return o.Store.Apply(ctx, changes)
}

func TestClaim_ARunWhoseEndTheStoreHasLostIsFoundAndRunAgain(t *testing.T) {
	bubble(t, func(b *bench) {
		runs := 0
		b.handle = func(context.Context, *task.Run) error {
			runs++
			return nil
		}
		id := b.enqueue()
		g := b.serve(&oblivious{Store: b.store})
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || done.Status != task.StatusSucceeded || done.Runs != 1 || runs != 2 {
			t.Errorf("%+v, %v, and the handler was called %d times", done, err, runs)
		}
		b.stop(g, 0)
	})
}

// slow answers a claim that got something two seconds late.
type slow struct{ task.Store }

func (s slow) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	got, err := s.Store.Claim(ctx, req)
	if len(got) > 0 {
		time.Sleep(2 * time.Second)
	}
	return got, err
}

// Otherwise a claim that was under way could restart a task that the stop has just interrupted.
func TestClaim_WhatIsAnsweredAfterLastCallDoesNotBegin(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error {
			t.Error("the handler was called")
			return nil
		}
		id := b.enqueue()
		g := b.serve(slow{b.store})
		time.Sleep(time.Second)
		b.stop(g, 0)
		if got := b.want(id, task.StatusQueued, "", 0, 0, 0); !got.RunAt.Equal(got.Created) {
			t.Errorf("it has lost its place in the queue: claimable since %v, created %v", got.RunAt, got.Created)
		}
	})
}

// stopping answers a claim that got something at last call, at the moment at which the worker hears
// of that.
type stopping struct {
	task.Store
	stop func()
}

func (s stopping) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	got, err := s.Store.Claim(ctx, req)
	if len(got) > 0 {
		s.stop()
		<-lastcall.LastCall(ctx)
	}
	return got, err
}

func TestClaim_WhatIsAnsweredAtLastCallDoesNotBegin(t *testing.T) {
	for range 50 { // who hears of last call first is left to chance
		bubble(t, func(b *bench) {
			b.handle = func(context.Context, *task.Run) error {
				t.Error("the handler was called")
				return nil
			}
			var g *lastcall.Group
			started := make(chan struct{})
			g = b.serve(stopping{b.store, func() { <-started; g.Stop(nil) }})
			close(started)
			id := b.enqueue()
			g.Wait()
			b.want(id, task.StatusQueued, "", 0, 0, 0)
		})
	}
}

// late has a claim that begins before last call, and that the store gets a little later.
type late struct {
	task.Store
	claims atomic.Int32
	begun  chan struct{} // closed when it has begun
	by     time.Duration
}

func (s *late) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if s.claims.Add(1) == 2 {
		close(s.begun)
		<-lastcall.LastCall(ctx)
		time.Sleep(s.by)
	}
	return s.Store.Claim(ctx, req)
}

// Otherwise that claim would get it, and give it back.
func TestClaim_WhatAStopInterruptsIsRecordedAfterTheLastClaim(t *testing.T) {
	bubble(t, func(b *bench) {
		s := &late{Store: b.store, begun: make(chan struct{}), by: 100 * time.Millisecond}
		var g *lastcall.Group
		started := make(chan struct{})
		b.handle = func(ctx context.Context, r *task.Run) error {
			<-started
			<-s.begun
			g.Stop(nil)
			<-lastcall.LastCall(ctx)
			return r.HandOver(7)
		}
		id := b.enqueue()
		g = b.serve(s)
		close(started)
		g.Wait()
		if got := b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0); got.Runs != 1 || string(got.Checkpoint) != "7" {
			t.Errorf("%d runs, checkpoint %s", got.Runs, got.Checkpoint)
		}
	})
}

// A claim that hangs holds back the handover for a quarter of a second.
func TestClaim_ThatHangsAtLastCallDelaysWhatAStopInterruptsForAMoment(t *testing.T) {
	bubble(t, func(b *bench) {
		s := &late{Store: b.store, begun: make(chan struct{}), by: 2 * time.Second}
		b.handle = func(ctx context.Context, r *task.Run) error {
			<-lastcall.LastCall(ctx)
			return r.HandOver(7)
		}
		id := b.enqueue()
		g := b.serve(s)
		<-s.begun
		began := time.Now()
		g.Stop(nil)
		time.Sleep(300 * time.Millisecond)
		b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		if got, err := b.client.Get(t.Context(), id); err != nil || got.Since.Sub(began) != 250*time.Millisecond {
			t.Errorf("recorded after %v, %v", got.Since.Sub(began), err)
		}
		g.Wait()
	})
}
