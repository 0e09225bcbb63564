package lastcall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"time"
)

// closer is a function that runs at the end of a stop.
type closer struct {
	name     string
	callSite string
	fn       func(context.Context) error
}

// runClosers runs the closers, the last registered first, including those
// that are registered while it runs.
func (g *Group) runClosers() {
	for {
		g.mu.Lock()
		n := len(g.closers)
		if n == 0 {
			g.closed = true
			g.mu.Unlock()
			return
		}
		c := g.closers[n-1]
		g.closers = g.closers[:n-1]
		g.mu.Unlock()
		g.runCloser(c, n)
	}
}

// keptForCloser is the time that is kept for each closer that has not run yet, however long those
// before it take. If that adds up to more than half of the time left, they share that half.
const keptForCloser = 100 * time.Millisecond

// runCloser runs one of the n closers that are left. It may use all the time that is left, less the
// time that is kept for the others.
func (g *Group) runCloser(c closer, n int) {
	began := time.Now()
	share := func() time.Time {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.at.close.IsZero() {
			return time.Time{}
		}
		left := max(g.at.close.Sub(began), 0)
		return began.Add(left - time.Duration(n-1)*min(keptForCloser, left/time.Duration(2*n)))
	}
	ctx, cancel := context.WithCancel(pprof.WithLabels(g.values, g.labels(EntryCloser, c.name)))
	defer cancel()
	if end := share(); !end.IsZero() {
		// A little before its share is over, so that a closer that obeys its
		// context can return an error that says why it did not finish.
		early := min(max(end.Sub(began)/10, 0), maxReportTime)
		ctx, cancel = context.WithDeadline(ctx, end.Add(-early))
		defer cancel()
	}

	result := make(chan error, 1)
	go c.call(ctx, func(err error) {
		result <- err
		g.wake()
	})
	if g.await(share, func() bool { return len(result) == 1 }) {
		if err := <-result; err != nil {
			g.closerFailed(c, err)
		}
		return
	}
	abandoned := []Entry{{Kind: EntryCloser, Name: c.name, Count: 1, Age: time.Since(began), CallSite: c.callSite, label: c.name}}
	g.abandon(abandoned, n)
	g.journal.log(g.log, slog.LevelError, "abandoned", abandoned[0].attrs()...)
}

// runLate runs a closer that was registered after the last one had run.
func (g *Group) runLate(c closer) {
	ctx, cancel := context.WithTimeout(pprof.WithLabels(g.values, g.labels(EntryCloser, c.name)), g.budget.reserve/2)
	defer cancel()
	result := make(chan error, 1)
	go c.call(ctx, func(err error) { result <- err })
	select {
	case err := <-result:
		if err != nil {
			g.closerFailed(c, err)
		}
	case <-ctx.Done():
		g.journal.log(g.log, slog.LevelError, "abandoned", "kind", string(EntryCloser), "name", c.name, "call_site", c.callSite)
	}
}

// call runs the closer and calls ended with its error, also after a panic or a
// runtime.Goexit. findStacks recognises a closer's stack by the frame of call.
func (c closer) call(ctx context.Context, ended func(error)) {
	returned := false
	var err error
	defer func() {
		if !returned {
			err = unwound(recover())
		}
		ended(sound(err))
	}()
	pprof.SetGoroutineLabels(ctx)
	err = c.fn(ctx)
	returned = true
}

func (g *Group) closerFailed(c closer, err error) {
	attrs := []any{"kind", string(EntryCloser), "name", c.name, "call_site", c.callSite, "error", err}
	var crash *unwoundError
	if errors.As(err, &crash) && crash.stack != nil {
		attrs = append(attrs, "stack", string(crash.stack))
	}
	g.journal.log(g.log, slog.LevelError, "closer failed", attrs...)
	g.fail(fmt.Errorf("closer %s: %w", c.name, err))
}
