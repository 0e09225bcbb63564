package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// maxLines bounds the lines of counts and the queues that an answer lists.
const maxLines = 1000

// counter counts the tasks of a store, once for all requests that come at the same time: with a
// hundred thousand kinds a count takes the store a while.
type counter struct {
	store task.Store
	turn  chan struct{} // held while the store is asked

	// Guarded by turn.
	began time.Time
	now   task.Counts
}

func newCounter(s task.Store) *counter {
	return &counter{store: s, turn: make(chan struct{}, 1)}
}

// count returns numbers that were counted after it was called.
func (c *counter) count(ctx context.Context) (task.Counts, error) {
	called := time.Now()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return task.Counts{}, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if c.began.After(called) {
		return c.now, nil
	}
	began := time.Now()
	now, err := c.store.Count(ctx, task.CountQuery{Lines: maxLines})
	if err != nil {
		return task.Counts{}, fmt.Errorf("task: count: %w", err)
	}
	c.began, c.now = began, now
	return c.now, nil
}
