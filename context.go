package lastcall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrStopping is what Go, Loop, Background, HTTP and Serve return when no more
// work is taken.
// It is also the cause with which the context of a Loop ends at last call.
var ErrStopping = errors.New("lastcall: stopping, no new work is taken")

// InterruptError is the cause (see [context.Cause]) of every context that was
// ended by Interrupt: the work had its time and did not end. It matches
// [context.Canceled] with errors.Is. What the work still has to write, it writes
// with the context of [UntilAbandon].
type InterruptError struct {
	Signal os.Signal // the signal that began the stop; nil when something else did
	Until  time.Time // the moment of Abandon: until then UntilAbandon(ctx) is valid; zero when there is none
}

// Error says what began the stop, and until when last writes are possible.
func (e *InterruptError) Error() string {
	by := "the stop"
	if e.Signal != nil {
		by = signalName(e.Signal)
	}
	if e.Until.IsZero() {
		return "lastcall: interrupted by " + by
	}
	return fmt.Sprintf("lastcall: interrupted by %s, last writes until %s", by, e.Until.Format("15:04:05.000"))
}

// Is reports whether target is context.Canceled: to code that only knows
// cancellation, an interrupt is one.
func (e *InterruptError) Is(target error) bool { return target == context.Canceled }

// LastCall returns a channel that closes at the last call of the group that
// ctx belongs to. Outside a group it is nil, which never delivers.
func LastCall(ctx context.Context) <-chan struct{} {
	if g := groupOf(ctx); g != nil {
		return g.loopEnd.Done()
	}
	return nil
}

// TimeLeft returns how much time is left: after last call until Interrupt,
// after that until Abandon, never less than zero. It is false outside a group,
// before last call, and when the stop has no deadline.
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

// UntilLastCall returns a context for waiting, as in a long poll: it is ctx, and
// ends at last call too, with ErrStopping as its cause. It holds a hook on the
// group until ctx ends, so make one for a request and not one for each round of
// a loop. Outside a group it is ctx.
func UntilLastCall(ctx context.Context) context.Context {
	g := groupOf(ctx)
	if g == nil {
		return ctx
	}
	waiting, end := context.WithCancelCause(ctx)
	endsNow := func() { end(context.Cause(g.loopEnd)) }
	if g.loopEnd.Err() != nil {
		endsNow() // before anyone looks, and not a moment later
		return waiting
	}
	unhook := context.AfterFunc(g.loopEnd, endsNow)
	context.AfterFunc(ctx, func() { unhook() })
	return waiting
}

// Context returns ctx as one that belongs to the group: [LastCall], [TimeLeft],
// [UntilLastCall] and the others work in it. It ends when ctx does. It is for work
// whose contexts are made elsewhere, as those of gRPC's calls are.
func (g *Group) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, groupKey{}, g)
}

// UntilInterrupt returns a context for the item in hand: it has the values of
// ctx and ends at Interrupt, whatever ends ctx. A Loop, whose own context ends at
// last call, finishes its current item with it. Outside a group it is ctx.
func UntilInterrupt(ctx context.Context) context.Context {
	if g := groupOf(ctx); g != nil {
		return &splice{values: ctx, end: g.workEnd, group: g}
	}
	return ctx
}

// UntilAbandon returns the context that is still good after Interrupt, for the
// last write of interrupted work: it has the values of ctx and ends at Abandon,
// half a reserve after Interrupt (InterruptError.Until), whatever ends ctx.
// Outside a group it is ctx.
func UntilAbandon(ctx context.Context) context.Context {
	if g := groupOf(ctx); g != nil {
		return &splice{values: ctx, end: g.lastEnd, group: g}
	}
	return ctx
}

// CloseFunc makes a closer of a function that takes no context, such as the
// Close method of almost everything.
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
// A group's ends hold no values of their own, so the only thing that end.Value
// can answer is the context package's question for the nearest cancellation:
// children of a splice attach to it directly, without a goroutine each.
type splice struct {
	values context.Context
	end    context.Context
	group  *Group
	labels context.Context // answers what values does not: the profiler's labels; or nil
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
