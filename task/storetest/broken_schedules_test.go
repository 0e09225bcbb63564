package storetest

import (
	"context"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func (b *broken) PutSchedules(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error) {
	return b.put(ctx, put)
}

func (b *broken) DueSchedules(ctx context.Context, req task.DueRequest) (task.DueReply, error) {
	return b.due(ctx, req)
}

func (b *broken) Tick(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
	return b.tick(ctx, req)
}

// putsWhateverItWas lets the last call win.
func putsWhateverItWas(b *broken) {
	inner := b.put
	b.put = func(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error) {
		now, err := b.due(ctx, task.DueRequest{Set: put.Name})
		if put.Was = now.Set.Generation; err != nil {
			return task.ScheduleSet{}, err
		}
		return inner(ctx, put)
	}
}

// ticksOfAnyGeneration compares only the tick.
func ticksOfAnyGeneration(b *broken) {
	inner := b.tick
	b.tick = func(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
		req.Generation = ""
		return inner(ctx, req)
	}
}

// trustsItsOwnClock ignores the caller's clock.
func trustsItsOwnClock(b *broken) {
	inner := b.due
	b.due = func(ctx context.Context, req task.DueRequest) (task.DueReply, error) {
		req.Clock = time.Time{}
		return inner(ctx, req)
	}
}

// neverAlone adds a task even if the last one has not ended.
func neverAlone(b *broken) {
	inner := b.tick
	b.tick = func(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
		for i := range req.Ticks {
			req.Ticks[i].Alone = false
		}
		return inner(ctx, req)
	}
}

// prunesSets forgets every set when it prunes.
func prunesSets(b *broken) {
	prune, due := b.prune, b.due
	var pruned bool
	b.prune = func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
		pruned = true
		return prune(ctx, req)
	}
	b.due = func(ctx context.Context, req task.DueRequest) (task.DueReply, error) {
		reply, err := due(ctx, req)
		if pruned {
			reply = task.DueReply{}
		}
		return reply, err
	}
}
