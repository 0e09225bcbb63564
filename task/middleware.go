package task

import (
	"context"
	"fmt"
	"maps"
)

// EnqueueFunc records new tasks and answers for each, in order, as [Client.EnqueueMany] does.
type EnqueueFunc func(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error)

// Use wraps the Enqueue and EnqueueMany of this client, and of those that its WithTx returns later,
// the first given outermost. A middleware sees each task as it was prepared (Enqueue hands it one)
// and may change it, before it calls next with as many tasks in the same order. What it has changed
// is checked like what a caller hands in, and the caller's own slice is not touched. An error that
// it returns without a call of next is the caller's, and nothing was recorded; its panic is the
// caller's, too.
//
// A task that is handed in again keeps the Meta that it had when it was first recorded.
//
//	client.Use(func(next task.EnqueueFunc) task.EnqueueFunc {
//		return func(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error) {
//			for i := range tasks {
//				tasks[i].SetMeta("trace", traceOf(ctx))
//			}
//			return next(ctx, tasks)
//		}
//	})
//
// Use comes before the client is used by several goroutines. [Mux.Use] is the same for handlers.
func (c *Client) Use(middleware ...func(next EnqueueFunc) EnqueueFunc) {
	c.middleware = append(c.middleware[:len(c.middleware):len(c.middleware)], middleware...)
}

// wrapped is what records tasks, inside of the client's middleware.
func (c *Client) wrapped(record EnqueueFunc) EnqueueFunc {
	wrapped := EnqueueFunc(func(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error) {
		for i := range tasks {
			if err := tasks[i].check(); err != nil {
				return nil, fmt.Errorf("task: enqueue %s, as a middleware of the client left it: %w", tasks[i].ID, err)
			}
		}
		return record(ctx, tasks)
	})
	for i := len(c.middleware) - 1; i >= 0; i-- {
		wrapped = c.middleware[i](wrapped)
	}
	return func(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error) {
		done, err := wrapped(ctx, tasks)
		if err == nil && len(done) != len(tasks) {
			err = fmt.Errorf("task: enqueue: a middleware of the client returned %d results for %d tasks", len(done), len(tasks))
		}
		return done, err
	}
}

// SetMeta sets a pair of the task's Meta. The map that it had is not changed.
func (n *NewTask) SetMeta(key, value string) {
	if n.Meta = maps.Clone(n.Meta); n.Meta == nil {
		n.Meta = make(map[string]string)
	}
	n.Meta[key] = value
}
