package task

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall"
)

// runContext is a run's context: a child of the worker's that has a cause of its own. It registers
// with its parent only when somebody asks whether it has ended, or ends it: most short handlers
// never look, and then it costs nothing.
type runContext struct {
	parent context.Context
	child  atomic.Pointer[cancelled]
	over   atomic.Bool // the handler has returned

	mu sync.Mutex // who makes the child
}

// cancelled is a context and the function that ends it.
type cancelled struct {
	context.Context
	cancel context.CancelCauseFunc
}

// real makes the child when it is first needed.
func (c *runContext) real() *cancelled {
	if child := c.child.Load(); child != nil {
		return child
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if child := c.child.Load(); child != nil {
		return child
	}
	child := new(cancelled)
	child.Context, child.cancel = context.WithCancelCause(c.parent)
	if c.over.Load() {
		child.cancel(nil)
	}
	c.child.Store(child)
	return child
}

// Deadline implements context.Context.
func (c *runContext) Deadline() (deadline time.Time, ok bool) { return c.parent.Deadline() }

// Done implements context.Context.
func (c *runContext) Done() <-chan struct{} { return c.real().Done() }

// Err implements context.Context.
func (c *runContext) Err() error { return c.real().Err() }

// Value implements context.Context.
func (c *runContext) Value(key any) any {
	if child := c.child.Load(); child != nil {
		return child.Value(key) // by which context.Cause finds the child
	}
	return c.parent.Value(key)
}

// cause is context.Cause for the time in which the handler runs, and asks nothing of the parent.
func (c *runContext) cause() error {
	if child := c.child.Load(); child != nil {
		return sound(context.Cause(child))
	}
	return sound(context.Cause(c.parent))
}

// cancel ends the context with a cause.
func (c *runContext) cancel(cause error) { c.real().cancel(cause) }

// end ends the context when the handler has returned.
func (c *runContext) end() {
	c.over.Store(true)
	c.mu.Lock()
	child := c.child.Load()
	c.mu.Unlock()
	if child != nil {
		child.cancel(nil)
	}
}

// writable returns a context for a write that must also be possible after an interrupt: it ends
// when ctx ends by another cause, and otherwise with the reserve.
func writable(ctx context.Context) (context.Context, context.CancelFunc) {
	last, release := lastWrite(ctx)
	wctx, cancel := context.WithCancelCause(last)
	stop := context.AfterFunc(ctx, func() {
		if cause := sound(context.Cause(ctx)); !is[*lastcall.InterruptError](cause) {
			cancel(cause)
		}
	})
	return wctx, func() { stop(); cancel(nil); release() }
}

// lastWrite is lastcall.UntilAbandon, and outside a group a context of five seconds that ignores
// ctx's end.
func lastWrite(ctx context.Context) (context.Context, context.CancelFunc) {
	if lastcall.LastCall(ctx) == nil {
		return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	}
	return lastcall.UntilAbandon(ctx), func() {}
}

// closed reports whether a channel has been closed.
func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
