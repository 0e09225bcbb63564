package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestRun_ThatIsCutOffIsToldBeforeItsLeaseEnds(t *testing.T) {
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

func TestLease_ASaveOfAStaleRunIsRefusedAndEndsItsContext(t *testing.T) {
	bubble(t, func(b *bench) {
		goOn := make(chan struct{})
		var save, cause error
		runs := 0
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error {
			if runs++; runs > 1 {
				return nil
			}
			<-goOn
			save = r.Save(ctx, "late")
			cause = context.Cause(ctx)
			return save
		})
		cut := &faultyStore{Store: b.store}
		g := b.serve(cut)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.store.Kill(first.Worker)
		next := b.serve(b.store)
		b.want(id, task.StatusSucceeded, "", 0, 0, 1)
		close(goOn)
		if got := b.want(id, task.StatusSucceeded, "", 0, 0, 1); got.Checkpoint != nil {
			t.Errorf("checkpoint %q", got.Checkpoint)
		}
		if !errors.Is(save, task.ErrLeaseLost) || !errors.Is(cause, task.ErrLeaseLost) {
			t.Errorf("Save: %v, cause: %v", save, cause)
		}
		b.stop(g, 0)
		b.stop(next, 0)
	})
}
