package task_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestPrune_OldTasksAreRemovedAndYoungOnesStay(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error { return nil }
		b.retention = time.Hour
		g := b.serve(b.store)
		id := b.enqueue()
		time.Sleep(time.Hour - time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		time.Sleep(time.Hour)
		if _, err := b.client.Get(b.t.Context(), id); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("after its retention: %v", err)
		}
		b.stop(g, 0)
	})
}

// pruneAsked is a store that keeps what it was asked to remove.
type pruneAsked struct {
	task.Store
	asked []task.PruneRequest
}

func (s *pruneAsked) Prune(_ context.Context, req task.PruneRequest) (task.PruneReply, error) {
	s.asked = append(s.asked, req)
	return task.PruneReply{}, nil
}

func TestPrune_TheWorkerGivesItsOwnClock(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &pruneAsked{Store: b.store}
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(store)
		began := time.Now()
		time.Sleep(time.Hour)
		b.stop(g, 0)
		if len(store.asked) < 3 {
			t.Fatalf("%d times in an hour", len(store.asked))
		}
		last := began
		for _, req := range store.asked {
			if !req.Clock.After(last) || req.Clock.After(time.Now()) {
				t.Errorf("the clock is %v, after %v", req.Clock, last)
			}
			last = req.Clock
		}
	})
}
