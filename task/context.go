package task

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall"
)

// runContext is a run's context: a child of the worker's context with a cause of its own. It
// registers with its parent only when the handler asks whether it has ended, or when it is ended.
// Most short handlers never ask, and then it costs nothing.
type runContext struct {
	parent context.Context
	child  atomic.Pointer[cancelled]
	over   atomic.Bool // the handler has returned

	mu sync.Mutex // guards the creation of the child
}

// cancelled is a context and the function that ends it.
type cancelled struct {
	context.Context
	cancel context.CancelCauseFunc
}

// real creates the child when it is first needed.
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

// cause is context.Cause while the handler runs, and does not ask the parent.
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

// writable returns a context for a write that must be possible even after an interrupt. It ends
// when ctx ends by another cause. Otherwise it ends just before the reserve does, so that the
// handler can return and is not abandoned during a write.
func writable(ctx context.Context) (context.Context, context.CancelFunc) {
	last, release := lastWrite(ctx)
	wctx, cancel := context.WithCancelCause(last)
	stop := context.AfterFunc(ctx, func() {
		cause := sound(context.Cause(ctx))
		if is[*lastcall.InterruptError](cause) && !reserveIsNearlyOver(ctx, wctx) {
			return
		}
		cancel(cause)
	})
	return wctx, func() { stop(); cancel(nil); release() }
}

// returnMargin is how long, at most, before the group abandons its goroutines a write is given up:
// its handler can return before the decision.
const returnMargin = 2 * decisionMargin

// reserveIsNearlyOver waits until a handler that waits for the store has to return. It reports
// false when the write ended before.
func reserveIsNearlyOver(ctx, write context.Context) bool {
	select {
	case <-lastcall.UntilInterrupt(ctx).Done():
	case <-write.Done():
		return false
	}
	left, limited := lastcall.TimeLeft(ctx)
	margin := min(left/2, returnMargin)
	// Again, if the process was frozen meanwhile.
	for ; limited && left > margin; left, _ = lastcall.TimeLeft(ctx) {
		if !pause(write, left-margin) {
			return false
		}
	}
	return limited
}

// lastWrite is lastcall.UntilAbandon. Outside a group it returns a context of five seconds that
// ignores ctx's end.
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

// pause waits for d, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
