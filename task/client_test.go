package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestGet_GettingATaskThatIsNotThereIsErrNotFound(t *testing.T) {
	c := task.NewClient(memstore.New())
	const id = "0197c0de-0000-7000-8000-000000000000"
	if _, err := c.Get(t.Context(), id); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if _, err := c.History(t.Context(), id); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("History: %v", err)
	}
}

func TestCancel_EndsARunningTaskAndSaysSoToItsHandler(t *testing.T) {
	bubble(t, func(b *bench) {
		causes := b.hold()
		g := b.serve(b.store)
		id := b.enqueue()
		synctest.Wait()
		if err := b.client.Cancel(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if cause := <-causes; !errors.Is(cause, task.ErrCancelled) {
			t.Errorf("cause %v", cause)
		}
		synctest.Wait()
		b.want(id, task.StatusCancelled, "", 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestInterrupt_HandsATaskToAnotherWorkerFirst(t *testing.T) {
	bubble(t, func(b *bench) {
		var runs []string
		b.handle = func(ctx context.Context, r *task.Run) error {
			runs = append(runs, time.Now().Format("05"))
			if len(runs) > 1 {
				return nil
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), task.ErrInterruptRequested) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return ctx.Err()
		}
		g := b.serve(b.store)
		id := b.enqueue()
		synctest.Wait()
		if err := b.client.Interrupt(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.want(id, task.StatusInterrupted, task.ReasonRequested, 0, 1, 0)
		began := time.Now()
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || done.Status != task.StatusSucceeded {
			t.Errorf("%+v, %v", done, err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("the only worker took it again after %v, want about 5 s", took)
		}
		b.stop(g, 0)
	})
}
