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

func TestPrune_AKindSaysForHowLongItsOwnAreKeptWhateverTheWorkerSays(t *testing.T) {
	for _, others := range []time.Duration{-1, time.Hour} {
		bubble(t, func(b *bench) {
			b.kind.Retention = task.Retention{Succeeded: 3 * time.Hour, Failed: -1}
			b.retention = others
			b.handle = func(_ context.Context, r *task.Run) error {
				if r.Meta("fails") != "" {
					return task.Permanent(errors.New("fails"))
				}
				return nil
			}
			g := b.serve(b.store)
			succeeded := b.enqueue()
			failed, err := b.kind.Enqueue(b.t.Context(), b.client, args{}, &task.EnqueueOptions{Meta: map[string]string{"fails": "yes"}})
			if err != nil {
				t.Fatal(err)
			}
			waited, err := b.kind.Enqueue(b.t.Context(), b.client, args{}, &task.EnqueueOptions{Delay: 24 * time.Hour})
			if err == nil {
				err = b.client.Cancel(b.t.Context(), waited.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3*time.Hour - time.Minute)
			b.want(succeeded, task.StatusSucceeded, "", 0, 0, 0)
			time.Sleep(2 * time.Hour)
			if _, err := b.client.Get(b.t.Context(), succeeded); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("others are kept for %v: after its kind's retention: %v", others, err)
			}
			if got := b.get(failed.ID); got.Status != task.StatusFailed {
				t.Errorf("others are kept for %v: what is kept for ever is %+v", others, got)
			}
			if _, err := b.client.Get(b.t.Context(), waited.ID); errors.Is(err, task.ErrNotFound) != (others > 0) {
				t.Errorf("others are kept for %v: what was cancelled while it waited: %v", others, err)
			}
			b.stop(g, 0)
		})
	}
}

// pruneAsked is a store that records the requests to remove.
type pruneAsked struct {
	task.Store
	asked []task.PruneRequest
}

func (s *pruneAsked) Prune(_ context.Context, req task.PruneRequest) (task.PruneReply, error) {
	s.asked = append(s.asked, req)
	return task.PruneReply{}, nil
}

func TestPrune_AWorkerThatKeepsAllTasksRemovesKeysWhoseTimeIsOver(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &pruneAsked{Store: b.store}
		b.retention = -1
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(store)
		time.Sleep(time.Hour)
		b.stop(g, 0)
		if len(store.asked) < 3 || !store.asked[0].KeepOthers {
			t.Errorf("asked %+v", store.asked)
		}
	})
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
