package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestWatch_ADeathIsACrashAndANeighbourTakesOverWithinAPoll(t *testing.T) {
	bubble(t, func(b *bench) {
		b.forever()
		cut := &faultyStore{Store: b.store}
		dead := b.serve(cut)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		next := b.serve(b.store)
		cut.cut(true)
		b.store.Kill(first.Worker)
		time.Sleep(300 * time.Millisecond)
		if got := b.want(id, task.StatusRunning, task.ReasonLost, 0, 0, 1); got.Worker == first.Worker || got.Run <= first.Run {
			t.Errorf("%+v", got)
		}
		b.stop(next, 0)
		dead.Stop(nil)
		dead.Wait()
	})
}

// slowWitness is a store that is sure of a death only when it has seen the signs for some time,
// like stores whose evidence is a connection.
type slowWitness struct {
	task.Store
	first time.Time
}

func (s *slowWitness) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	all, err := s.Store.Workers(ctx)
	if s.first.IsZero() {
		s.first = time.Now()
	}
	for i := range all {
		if all[i].Liveness == task.LivenessDead && time.Since(s.first) < 400*time.Millisecond {
			all[i].Liveness = task.LivenessUnknown
		}
	}
	return all, err
}

func TestWatch_AProcessThatStartsAfterADeathTakesOverAsSoonAsItsStoreIsSure(t *testing.T) {
	bubble(t, func(b *bench) {
		b.forever()
		cut := &faultyStore{Store: b.store}
		dead := b.serve(cut)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		cut.cut(true)
		b.store.Kill(first.Worker)
		next := b.serve(&slowWitness{Store: b.store})
		time.Sleep(700 * time.Millisecond)
		if got := b.want(id, task.StatusRunning, task.ReasonLost, 0, 0, 1); got.Worker == first.Worker {
			t.Errorf("%+v", got)
		}
		b.stop(next, 0)
		dead.Stop(nil)
		dead.Wait()
	})
}

func TestLease_ThatRanOutIsAnInterruptionAndTheStaleRunIsTold(t *testing.T) {
	bubble(t, func(b *bench) {
		var stale error
		runs := 0
		task.Handle(&b.mux, kind, func(ctx context.Context, _ *task.Run, _ args) error {
			runs++
			if runs > 1 {
				return nil
			}
			<-ctx.Done()
			stale = context.Cause(ctx)
			return ctx.Err()
		})
		cut := &faultyStore{Store: b.store}
		frozen := b.serve(cut)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		next := b.serve(b.store)
		time.Sleep(time.Minute)
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		cut.cut(true)
		time.Sleep(14 * time.Second)
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		time.Sleep(5 * time.Second)
		if got := b.want(id, task.StatusSucceeded, "", 0, 1, 0); got.Worker == first.Worker {
			t.Errorf("%+v", got)
		}
		if stale != nil {
			t.Errorf("the stale run was told %v before its worker could know", stale)
		}
		cut.cut(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !errors.Is(stale, task.ErrLeaseLost) {
			t.Errorf("the stale run was told %v", stale)
		}
		ws, err := b.client.Workers(t.Context())
		if err != nil || len(ws) != 2 {
			t.Errorf("workers %+v, %v: want the neighbour, and the first under a new name", ws, err)
		}
		b.stop(frozen, 0)
		b.stop(next, 0)
	})
}

func TestWatch_AWorkerThatWasCutOffItselfTakesNobodyForDead(t *testing.T) {
	bubble(t, func(b *bench) {
		b.forever()
		owner := b.serve(b.store)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		cut := &faultyStore{Store: b.store}
		observer := b.serve(cut)
		time.Sleep(time.Minute)
		cut.cut(true)
		time.Sleep(13 * time.Second) // less than its own lease: no worker takes it for dead either
		cut.cut(false)
		time.Sleep(time.Minute)
		if got := b.want(id, task.StatusRunning, "", 0, 0, 0); got.Worker != first.Worker {
			t.Errorf("%+v", got)
		}
		b.stop(owner, 0)
		b.stop(observer, 0)
	})
}

func TestCrash_OfADeadWorkersTasksOnlyTheSuspectIsCharged(t *testing.T) {
	bubble(t, func(b *bench) {
		b.forever()
		suspect := b.enqueue()
		var groups []*lastcall.Group
		die := func() {
			cut := &faultyStore{Store: b.store}
			groups = append(groups, b.serve(cut))
			time.Sleep(10 * time.Second)
			cut.cut(true)
			b.store.Kill(b.get(suspect).Worker)
		}
		die()
		die()
		other := b.enqueue()
		die() // the third death, with a task next to it
		groups = append(groups, b.serve(b.store))
		time.Sleep(10 * time.Second)
		b.want(suspect, task.StatusFailed, "", 0, 0, 3)
		if got := b.want(other, task.StatusRunning, task.ReasonLost, 0, 1, 0); got.Runs != 2 {
			t.Errorf("%+v", got)
		}
		for _, g := range groups {
			g.Stop(nil)
			g.Wait()
		}
	})
}
