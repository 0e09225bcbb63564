package lastcall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
)

// Go starts work that ends by itself, under a name. Its context ends at Interrupt, so
// it can finish after last call.
//
// What the result of fn means depends on when fn returns:
//
//   - nil ends only this goroutine, at any time.
//   - An error, a panic or a runtime.Goexit is a failure; before last call it begins a stop.
//   - After last call, an error that wraps context.Canceled is a clean end.
//   - After Interrupt, any error means that the work was interrupted and is recorded nowhere.
//     Work that recorded its own interruption, with the context of [UntilAbandon],
//     returns nil.
//   - If fn has not returned at Abandon, the report names the goroutine with its stack, the
//     group stops waiting for it, and the exit code is 3.
//
// Go either starts fn, and the group waits for it, or returns ErrStopping and
// does not start it. During a stop Go still starts work until the listeners are closed and
// the requests in flight have returned, at the latest until Interrupt. In a group without a
// server to drain it returns ErrStopping from last call on.
//
// Goroutines may share a name; a report then counts them. An empty name is
// replaced by the file and line of the call. Details are cached for the first 1,024
// names: give goroutines of one purpose the same name, and put numbers into the log.
func (g *Group) Go(name string, fn func(context.Context) error) error {
	if fn == nil {
		panic("lastcall: Go(" + name + "): nil function")
	}
	return g.start(g.site(g.workEnd, EntryGo, name, 2), fn)
}

// Loop starts work that runs as long as the program: a consumer, a ticker,
// a watcher. Its context ends at last call, with ErrStopping as the cause. To finish
// its current item after that, fn uses the context of [UntilInterrupt].
//
// If fn returns before last call, even with nil, that begins a stop with exit code 1:
// the program is not complete without its loop. After last call the result of fn means
// the same as in Go. From last call on Loop starts nothing and returns ErrStopping.
func (g *Group) Loop(name string, fn func(context.Context) error) error {
	if fn == nil {
		panic("lastcall: Loop(" + name + "): nil function")
	}
	if g.stopping() {
		return ErrStopping
	}
	return g.start(g.site(g.loopEnd, EntryLoop, name, 2), fn)
}

// Background starts work that a request began and that outlives the request. fn's
// context keeps the values of ctx, such as trace ids, but not its cancellation; it
// ends at Interrupt.
//
// Errors and panics of fn are logged and counted in the report; they do not begin a
// stop. Background starts fn or returns ErrStopping under the same rules as Go.
func (g *Group) Background(ctx context.Context, name string, fn func(context.Context) error) error {
	if fn == nil {
		panic("lastcall: Background(" + name + "): nil function")
	}
	s := g.site(g.workEnd, EntryBackground, name, 2)
	own := &splice{values: ctx, end: g.workEnd, group: g, labels: s.ctx}
	return g.start(s, func(context.Context) error {
		if !hasLabels(ctx) {
			return fn(own)
		}
		// The request's labels and the group's.
		ctx := pprof.WithLabels(own, g.labels(EntryBackground, s.name))
		pprof.SetGoroutineLabels(ctx)
		return fn(ctx)
	})
}

func hasLabels(ctx context.Context) bool {
	has := false
	pprof.ForLabels(ctx, func(string, string) bool { has = true; return false })
	return has
}

// site returns the site of a name, which it creates for a new name. skip is the
// number of frames between the caller and the user's code.
func (g *Group) site(end context.Context, kind EntryKind, name string, skip int) *site {
	if s := g.registry.find(kind, name); s != nil {
		return s
	}
	where := callSite(skip + 1)
	if name == "" {
		name = where
	}
	ctx := pprof.WithLabels(&splice{values: g.values, end: end, group: g}, g.labels(kind, name))
	return g.registry.keep(&site{kind: kind, name: name, callSite: where, ctx: ctx})
}

// The labels in a goroutine profile. A goroutine passes them on to those that it starts,
// so a label alone does not prove that the group started a goroutine.
const (
	nameLabel  = "lastcall"
	kindLabel  = "lastcall.kind"
	groupLabel = "lastcall.group"
)

func (g *Group) labels(kind EntryKind, name string) pprof.LabelSet {
	return pprof.Labels(nameLabel, name, kindLabel, string(kind), groupLabel, strconv.FormatUint(g.id, 10))
}

// callSite returns "folder/file.go:line" of a caller, 1 being the caller of
// callSite.
func callSite(skip int) string {
	_, file, line, ok := runtime.Caller(skip)
	if !ok {
		return "unknown"
	}
	dir, base := filepath.Split(file)
	return filepath.Join(filepath.Base(dir), base) + ":" + strconv.Itoa(line)
}

// start registers a goroutine and starts it, or returns ErrStopping if the gate is closed.
func (g *Group) start(s *site, fn func(context.Context) error) error {
	if g.live.Add(1)&gateClosed != 0 {
		g.leave()
		return ErrStopping
	}
	go g.run(g.registry.add(s, fn))
	return nil
}

// run is the first frame of every goroutine of a group; findStacks recognises their
// stacks by it.
func (g *Group) run(started *goroutine) {
	returned := false
	var err error
	defer func() {
		if !returned {
			err = unwound(recover())
		}
		g.ended(started, sound(err))
	}()
	pprof.SetGoroutineLabels(started.site.ctx)
	err = started.fn(started.site.ctx)
	returned = true
}

// ended removes a goroutine that has returned from the group.
func (g *Group) ended(old *goroutine, err error) {
	if err != nil || old.site.kind != EntryGo || g.stopping() {
		g.judge(old, err)
	}
	if g.registry.remove(old) {
		g.wake()
	}
	g.leave()
}

// leave decrements live. After the last goroutine it begins a stop, if the group is armed,
// and wakes the driver.
func (g *Group) leave() {
	switch g.live.Add(-1) {
	case 0:
		if g.armed.Load() && !g.stopping() {
			g.begin(nil, nil)
		}
		g.wake()
	case gateClosed:
		g.wake()
	}
}

// judge decides what the end of a goroutine means.
func (g *Group) judge(old *goroutine, err error) {
	s := old.site
	p := phase(g.phase.Load())
	var crash *unwoundError
	crashed := errors.As(err, &crash)
	if p >= lastCall {
		cut := p >= interrupted && err != nil && !crashed
		clean := errors.Is(err, context.Canceled) || errors.Is(err, ErrStopping)
		if p < abandoned { // one that returns later is in Report.Abandoned already
			g.registry.note(old, err, cut)
		}
		if err == nil || !crashed && (cut || clean) {
			return
		}
	}
	switch {
	case err != nil:
	case s.kind == EntryLoop || s.kind == EntryServer:
		err = errors.New("returned before last call; a " + string(s.kind) + " runs until then")
	default:
		return
	}
	attrs := []any{"kind", string(s.kind), "name", s.name, "call_site", s.callSite, "error", err}
	if crashed && crash.stack != nil {
		attrs = append(attrs, "stack", string(crash.stack))
	}
	what := "goroutine failed"
	switch s.kind {
	case EntryBackground:
		g.mu.Lock()
		g.report.BackgroundErrors++
		g.mu.Unlock()
	case EntrySetup:
		what = "setup failed"
		g.fail(fmt.Errorf("setup: %w", err))
	default:
		g.fail(fmt.Errorf("%s %s: %w", s.kind, s.name, err))
	}
	// Logged last: the stop has begun even if the logger blocks.
	g.journal.log(g.log, slog.LevelError, what, attrs...)
}

// unwoundError is the error of a goroutine that did not return: it panicked, or
// called runtime.Goexit.
type unwoundError struct {
	value any
	stack []byte // nil for Goexit
}

// unwound returns the error for the value that recover returned. It must be called in the
// deferred function that called recover, for the stack.
func unwound(recovered any) *unwoundError {
	if recovered == nil {
		return &unwoundError{}
	}
	return &unwoundError{value: recovered, stack: debug.Stack()}
}

// sound returns a user's error or, if one of its methods panics, an error that says so. The group
// calls these methods later, where nothing could recover. The usual reason is an error that holds a
// nil pointer.
func sound(err error) (safe error) {
	if err == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			safe = &unwoundError{value: fmt.Sprintf("a method of the error %T panicked: %v", err, v), stack: debug.Stack()}
		}
	}()
	_ = err.Error()
	_ = errors.Is(err, errNone)
	_ = errors.As(err, new(*unwoundError))
	return err
}

// errNone is an error that nothing returns or wraps.
var errNone = errors.New("none")

func (e *unwoundError) Error() string {
	if e.stack == nil {
		return "left by runtime.Goexit without returning"
	}
	return fmt.Sprintf("panic: %v", e.value)
}

func (e *unwoundError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
