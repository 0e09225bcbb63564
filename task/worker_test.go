package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestNewWorker_RefusesWhatCannotWork(t *testing.T) {
	ok := task.WorkerConfig{Store: memstore.New(), Mux: new(task.Mux)}
	for name, change := range map[string]func(c *task.WorkerConfig){
		"no store":    func(c *task.WorkerConfig) { c.Store = nil },
		"no mux":      func(c *task.WorkerConfig) { c.Mux = nil },
		"concurrency": func(c *task.WorkerConfig) { c.Concurrency = -1 },
		"lease":       func(c *task.WorkerConfig) { c.Lease = time.Millisecond },
	} {
		c := ok
		change(&c)
		if _, err := task.NewWorker(c); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := task.NewWorker(ok); err != nil {
		t.Error(err)
	}
}

func TestStop_ATaskThatIsDoneInTimeSucceedsInTheDrain(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error {
			time.Sleep(5 * time.Second)
			if !r.Stopping() || ctx.Err() != nil {
				t.Errorf("stopping %v, context %v", r.Stopping(), ctx.Err())
			}
			return nil
		})
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
	})
}

func TestStop_AtTheInterruptATaskIsRecordedWithReasonAndCheckpointAndTakenUpByTheNext(t *testing.T) {
	bubble(t, func(b *bench) {
		began := time.Now()
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error {
			var at int
			if found, err := r.Load(&at); err != nil || found {
				if at != 42 {
					t.Errorf("the next run begins at %d, %v", at, err)
				}
				return err
			}
			<-ctx.Done()
			var by *lastcall.InterruptError
			if !errors.As(context.Cause(ctx), &by) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return r.HandOver(42)
		})
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if got := b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0); string(got.Checkpoint) != "42" || got.Error != "" {
			t.Errorf("checkpoint %q, error %q", got.Checkpoint, got.Error)
		}
		g = b.serve(b.store)
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		b.stop(g, 0)
		runs, err := b.client.History(t.Context(), id)
		if err != nil || len(runs) != 2 || runs[0].Status != task.StatusInterrupted || runs[1].Status != task.StatusSucceeded || runs[1].Run <= runs[0].Run {
			t.Errorf("%+v, %v", runs, err)
		}
	})
}

func TestStop_AKindMayAskToBeInterruptedAtLastCall(t *testing.T) {
	bubble(t, func(b *bench) {
		began := time.Now()
		k := kind
		k.OnStop = task.InterruptOnStop
		task.Handle(&b.mux, k, func(ctx context.Context, r *task.Run, _ args) error {
			<-ctx.Done()
			if err := r.Save(ctx, "saved after the end of the context"); err != nil {
				t.Errorf("Save: %v", err)
			}
			return ctx.Err()
		})
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		if took := time.Since(began); took != 0 {
			t.Errorf("the stop took %v", took)
		}
		if got := b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0); got.Checkpoint == nil {
			t.Error("the last checkpoint is missing")
		}
	})
}

func TestStop_AfterLastCallNothingIsClaimed(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		g := b.serve(b.store)
		first := b.enqueue()
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		g.Stop(nil)
		synctest.Wait()
		second := b.enqueue()
		if code := g.Wait().ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		b.want(first, task.StatusSucceeded, "", 0, 0, 0)
		b.want(second, task.StatusQueued, "", 0, 0, 0)
		if ws, err := b.client.Workers(t.Context()); err != nil || len(ws) != 0 {
			t.Errorf("workers are left: %+v, %v", ws, err)
		}
	})
}
