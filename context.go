package lastcall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lastcall-go/lastcall/internal/signals"
)

// ErrStopping is the error of Go, Loop, Background, HTTP and Serve when the group
// accepts no more work. It is also the cause with which the context of a Loop ends
// at last call.
var ErrStopping = errors.New("lastcall: stopping, no new work is taken")

// InterruptError is the cause (see [context.Cause]) of every context that ended
// at Interrupt, because the work did not finish in time. It matches
// [context.Canceled] with errors.Is. Interrupted work that still has something to
// write uses the context of [UntilAbandon].
type InterruptError struct {
	Signal os.Signal // the signal that began the stop; nil if something else did
	// The moment of Abandon, until which UntilAbandon(ctx) is valid; zero if there is none.
	Until time.Time
}

// Error says what began the stop and until when last writes are possible.
func (e *InterruptError) Error() string {
	by := "the stop"
	if e.Signal != nil {
		by = signals.Name(e.Signal)
	}
	if e.Until.IsZero() {
		return "lastcall: interrupted by " + by
	}
	return fmt.Sprintf("lastcall: interrupted by %s, last writes until %s", by, e.Until.Format("15:04:05.000"))
}

// Is reports whether target is context.Canceled: code that only knows cancellation
// sees an interrupt as one.
func (e *InterruptError) Is(target error) bool { return target == context.Canceled }

// LastCall returns a channel that closes at the last call of the group that
// ctx belongs to. Outside a group it returns nil, a channel that never closes.
func LastCall(ctx context.Context) <-chan struct{} {
	if g := groupOf(ctx); g != nil {
		return g.loopEnd.Done()
	}
	return nil
}

// TimeLeft returns how much time is left: between last call and Interrupt the time
// until Interrupt, after that the time until Abandon, never less than zero. It returns
// false outside a group, before last call, and when the stop has no deadline.
func TimeLeft(ctx context.Context) (time.Duration, bool) {
	g := groupOf(ctx)
	if g == nil || !g.stopping() {
		return 0, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	next := g.at.interrupt
	if phase(g.phase.Load()) >= interrupted {
		next = g.at.abandon
	}
	if next.IsZero() {
		return 0, false
	}
	return max(time.Until(next), 0), true
}

// UntilLastCall returns a context for waiting, such as in a long poll. It is derived
// from ctx and also ends at last call, with ErrStopping as its cause. It holds a
// callback on the group until ctx ends, so derive it once for a request, not in each
// iteration of a loop. Outside a group it returns ctx.
func UntilLastCall(ctx context.Context) context.Context {
	g := groupOf(ctx)
	if g == nil {
		return ctx
	}
	waiting, end := context.WithCancelCause(ctx)
	endsNow := func() { end(context.Cause(g.loopEnd)) }
	if g.loopEnd.Err() != nil {
		endsNow() // before it is returned: AfterFunc would end it a moment later
		return waiting
	}
	unhook := context.AfterFunc(g.loopEnd, endsNow)
	context.AfterFunc(ctx, func() { unhook() })
	return waiting
}

// Context returns a context derived from ctx that belongs to the group: [LastCall],
// [TimeLeft], [UntilLastCall] and the others work with it. It ends when ctx ends. Use it
// for work whose contexts are created elsewhere, such as those of gRPC calls.
func (g *Group) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, groupKey{}, g)
}

// UntilInterrupt returns a context with the values of ctx that ends at Interrupt, even
// if ctx ends earlier. A Loop, whose own context ends at last call, finishes its current
// item with it. Outside a group it returns ctx.
func UntilInterrupt(ctx context.Context) context.Context {
	if g := groupOf(ctx); g != nil {
		return &splice{values: ctx, end: g.workEnd, group: g}
	}
	return ctx
}

// UntilAbandon returns a context that is still valid after Interrupt, for the last write
// of interrupted work. It has the values of ctx and ends at Abandon, half the reserve
// after Interrupt (InterruptError.Until), even if ctx ends earlier. Outside a group it
// returns ctx.
func UntilAbandon(ctx context.Context) context.Context {
	if g := groupOf(ctx); g != nil {
		return &splice{values: ctx, end: g.lastEnd, group: g}
	}
	return ctx
}

// CloseFunc turns a function without a context, such as a Close method, into a closer
// for [Group.Defer].
func CloseFunc(close func() error) func(context.Context) error {
	return func(context.Context) error { return close() }
}

type groupKey struct{}

// groupOf returns the innermost group that ctx belongs to, or nil.
func groupOf(ctx context.Context) *Group {
	g, _ := ctx.Value(groupKey{}).(*Group)
	return g
}

// splice is a context with the values of one context and the end of another.
// The contexts that a group ends hold no values, so end.Value answers only the context
// package's private lookup of the nearest cancelable context. Children of a splice
// therefore attach to end directly and need no goroutine each.
type splice struct {
	values context.Context
	end    context.Context
	group  *Group
	labels context.Context // the profiler's labels, looked up when values has none; or nil
}

func (s *splice) Deadline() (time.Time, bool) { return s.end.Deadline() }
func (s *splice) Done() <-chan struct{}       { return s.end.Done() }
func (s *splice) Err() error                  { return s.end.Err() }

func (s *splice) Value(key any) any {
	if key == (groupKey{}) {
		return s.group
	}
	if v := s.end.Value(key); v != nil {
		return v
	}
	if v := s.values.Value(key); v != nil || s.labels == nil {
		return v
	}
	return s.labels.Value(key)
}
