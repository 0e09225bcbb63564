package httpapi

import (
	"context"
	"errors"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// Wait returns a task once it has ended, however it ended: check its Status. It asks at once, after
// 10 ms, then less and less often, at least once a second. All waiters of a client share their
// requests, a hundred tasks in each; a waiter whose task has ended asks once more, for the result.
// When ctx ends first, Wait returns the task as a list shows it, as it was seen last, and the
// cause.
func (c *Client) Wait(ctx context.Context, id string) (task.Task, error) {
	if !isID(id) {
		return c.Get(ctx, id) // one that cannot be, in a question for many, would be an error for all
	}
	for {
		seen, err := c.waits.Wait(ctx, id)
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return seen, err
		}
		t, err := c.Get(ctx, id)
		if err != nil || t.Status.Ended() { // else it was retried in between
			return t, err
		}
	}
}

// ends is the part of a store that waiting needs, on a server.
type ends struct {
	task.Store
	client *Client
}

// Find returns the tasks with some ids, without what a list leaves out.
func (e ends) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	var all []task.Task
	for ids := range slices.Chunk(q.IDs, maxIDs) {
		found, err := e.client.Find(ctx, task.Query{IDs: ids})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
