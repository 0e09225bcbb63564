package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestCrashed_WhatTheHandlerCallsACrashIsCountedAsOneAndCapped(t *testing.T) {
	bubble(t, func(b *bench) {
		killed := errors.New("killed by signal 9")
		b.handle = func(context.Context, *task.Run) error { return fmt.Errorf("render: %w", task.Crashed(killed)) }
		id := b.enqueue()
		g := b.serve(b.store)
		// The first costs no time, the second half a second.
		synctest.Wait()
		b.want(id, task.StatusInterrupted, task.ReasonLost, 0, 0, 2)
		time.Sleep(time.Second)
		got := b.want(id, task.StatusFailed, "", 0, 0, 3)
		if !strings.Contains(got.Error, "3 crashes without a new checkpoint, the last one: render: killed by signal 9") {
			t.Errorf("error %q", got.Error)
		}
		runs, err := b.client.History(t.Context(), id)
		if err != nil || len(runs) != 3 || !runs[0].Crashed || runs[0].Reclaimed || runs[0].Status != task.StatusInterrupted || !runs[2].Crashed || runs[2].Status != task.StatusFailed {
			t.Errorf("%+v, %v", runs, err)
		}
		b.stop(g, 0)
	})
}

func TestCrashed_ANewCheckpointEndsTheStreakOfWhatTheHandlerCallsCrashes(t *testing.T) {
	bubble(t, func(b *bench) {
		n := 0
		b.handle = func(ctx context.Context, r *task.Run) error {
			if n++; n > 6 {
				return nil
			}
			if err := r.Save(ctx, n); err != nil {
				return err
			}
			return task.Crashed(errors.New("killed by signal 9"))
		}
		id := b.enqueue()
		g := b.serve(b.store)
		b.want(id, task.StatusSucceeded, "", 0, 0, 6)
		b.stop(g, 0)
	})
}

func TestCrashed_ACrashAfterAStopBeganIsAnInterruption(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, _ *task.Run) error {
			<-ctx.Done()
			return task.Crashed(errors.New("killed by signal 9"))
		}
		id := b.enqueue()
		g := b.serve(b.store)
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		if got := b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0); got.Error != "killed by signal 9" {
			t.Errorf("error %q", got.Error)
		}
	})
}

func TestCrash_CrashesWithoutANewCheckpointFailTheTaskAtTheCap(t *testing.T) {
	bubble(t, func(b *bench) {
		saved := 0
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error {
			if saved < 2 {
				saved++
				if err := r.Save(ctx, saved); err != nil {
					t.Errorf("Save: %v", err)
				}
			}
			<-ctx.Done()
			return ctx.Err()
		})
		id := b.enqueue()
		var groups []*lastcall.Group
		for crashes := 1; crashes <= 4; crashes++ {
			cut := &faultyStore{Store: b.store}
			groups = append(groups, b.serve(cut))
			time.Sleep(10 * time.Second)
			cut.cut(true)
			b.store.Kill(b.get(id).Worker)
		}
		groups = append(groups, b.serve(b.store))
		time.Sleep(10 * time.Second)
		// Crash 1 after checkpoint 1, crash 2 after checkpoint 2: then three in a row, the second's
		// included.
		if got := b.want(id, task.StatusFailed, "", 0, 0, 4); got.CrashStreak != 3 {
			t.Errorf("streak %d, error %q", got.CrashStreak, got.Error)
		}
		for _, g := range groups {
			g.Stop(nil)
			g.Wait()
		}
	})
}
