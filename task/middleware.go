package task

import (
	"context"
	"fmt"
	"maps"
)

// EnqueueFunc records new tasks and returns a result for each, in order, as [Client.EnqueueMany]
// does.
type EnqueueFunc func(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error)

// Use wraps the Enqueue and EnqueueMany of this client, and of the clients that its WithTx returns
// later. The first middleware is the outermost. A middleware sees each task as it was prepared
// (Enqueue passes one) and may change it, before it calls next with as many tasks in the same
// order. Its changes are checked like the tasks of a caller, and the caller's own slice is not
// touched. If it returns an error without calling next, the caller gets that error, and nothing was
// recorded; a panic also reaches the caller.
//
// A task that is enqueued again keeps the Meta with which it was first recorded.
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
// Call Use before several goroutines use the client. [Mux.Use] is the same for handlers.
func (c *Client) Use(middleware ...func(next EnqueueFunc) EnqueueFunc) {
	c.middleware = append(c.middleware[:len(c.middleware):len(c.middleware)], middleware...)
}

// wrapped returns record inside of the client's middleware.
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

// SetMeta sets a pair of the task's Meta. The map that the task had before is not changed.
func (n *NewTask) SetMeta(key, value string) {
	if n.Meta = maps.Clone(n.Meta); n.Meta == nil {
		n.Meta = make(map[string]string)
	}
	n.Meta[key] = value
}
