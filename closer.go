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
	g.mu.Lock()
	phase := closingPhase{began: time.Now(), closers: len(g.closers)}
	g.mu.Unlock()
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
		g.runCloser(c, n, phase)
	}
}

// closingPhase is the phase of a stop in which the closers run.
type closingPhase struct {
	began   time.Time
	closers int // when it began
}

// minKept is the least time that is kept for each closer that has not run yet.
const minKept = 100 * time.Millisecond

// kept returns the time that is kept for each closer that has not run yet, when there are n and the
// next one begins at now: a twentieth of the phase, which ends at end, and minKept at least. The
// closers keep no more than half of the phase together, so that one that is slow gets the other
// half. If the phase became shorter, they share what is left.
func (p closingPhase) kept(now, end time.Time, n int) time.Duration {
	whole, left := max(end.Sub(p.began), 0), max(end.Sub(now), 0)
	return min(max(minKept, whole/20), whole/time.Duration(2*max(p.closers, n)), left/time.Duration(n))
}

// runCloser runs one of the n closers that are left. It may use all the time that is left, less the
// time that is kept for the others.
func (g *Group) runCloser(c closer, n int, phase closingPhase) {
	began := time.Now()
	share := func() time.Time {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.at.close.IsZero() {
			return time.Time{}
		}
		return g.at.close.Add(-time.Duration(n-1) * phase.kept(began, g.at.close, n))
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
