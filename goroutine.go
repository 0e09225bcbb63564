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

// Go starts finite work under a name. Its context ends at Interrupt, so a last
// call lets it finish.
//
// Returning nil ends only this goroutine. An error, a panic or a
// runtime.Goexit is a failure: before last call it begins a stop. After last
// call an error that wraps context.Canceled is a clean end, and after
// Interrupt any error means that the work was interrupted and is recorded
// nowhere; work that recorded its own interruption, with the context of
// [UntilAbandon], returns nil. What has not returned at Abandon is named in the
// report with its stack and left behind, and the exit code is 3.
//
// Go either starts fn, and the group waits for it, or returns ErrStopping and
// does not start it. It starts until the listeners are closed and the requests
// in flight have returned, at the latest until Interrupt; a group without a
// server that is drained refuses from last call on.
//
// Goroutines may share a name; a report then counts them. An empty name is
// replaced by the place of the call. Details are cached for the first 1,024
// names: give a thousand goroutines one name, and put numbers into the log.
func (g *Group) Go(name string, fn func(context.Context) error) error {
	if fn == nil {
		panic("lastcall: Go(" + name + "): nil function")
	}
	return g.start(g.site(g.workEnd, EntryGo, name, 2), fn)
}

// Loop starts work that runs for as long as the program: a consumer, a ticker,
// a watcher. Its context ends at last call, with ErrStopping as the cause. The
// item in hand is finished with the context of [UntilInterrupt], until Interrupt.
//
// Returning before last call, even with nil, begins a stop with exit code 1:
// a program without its loop is not the program. After last call the rules of
// Go hold. From last call on Loop returns ErrStopping.
func (g *Group) Loop(name string, fn func(context.Context) error) error {
	if fn == nil {
		panic("lastcall: Loop(" + name + "): nil function")
	}
	if g.stopping() {
		return ErrStopping
	}
	return g.start(g.site(g.loopEnd, EntryLoop, name, 2), fn)
}

// Background starts work that was born from a request and outlives it. fn's
// context keeps the values of ctx, such as trace ids, and drops its
// cancellation; it ends at Interrupt.
//
// Errors and panics of fn are logged and counted in the report, and stop
// nobody. Background starts or refuses as Go does.
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
		ctx := pprof.WithLabels(own, g.labels(EntryBackground, s.name)) // both the request's labels and ours
		pprof.SetGoroutineLabels(ctx)
		return fn(ctx)
	})
}

func hasLabels(ctx context.Context) bool {
	has := false
	pprof.ForLabels(ctx, func(string, string) bool { has = true; return false })
	return has
}

// site returns the site of a name, which it makes when it is new. skip is the
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

// The labels that a goroutine profile shows. Goroutines that a labelled one
// starts inherit them, so they say who began something, not who must end it.
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

// start passes the gate, registers a goroutine and starts it.
func (g *Group) start(s *site, fn func(context.Context) error) error {
	if g.live.Add(1)&gateClosed != 0 {
		g.leave()
		return ErrStopping
	}
	go g.run(g.registry.add(s, fn))
	return nil
}

// run is the first frame of every goroutine of a group; stacks are recognised
// by it.
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

// ended takes a goroutine that has returned out of the group.
func (g *Group) ended(old *goroutine, err error) {
	if err != nil || old.site.kind != EntryGo || g.stopping() {
		g.judge(old, err)
	}
	if g.registry.remove(old) {
		g.wake()
	}
	g.leave()
}

// leave gives back a place in live, and wakes the driver after the last one.
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
		if p < abandoned { // later ones are in the report already
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
	// The stop comes first: it begins even when the logger blocks.
	g.journal.log(g.log, slog.LevelError, what, attrs...)
}

// unwoundError is the error of a goroutine that neither returned nil nor an
// error: it panicked, or left by runtime.Goexit.
type unwoundError struct {
	value any
	stack []byte // nil for Goexit
}

// unwound makes the error out of what recover returned, in the deferred
// function that called it.
func unwound(recovered any) *unwoundError {
	if recovered == nil {
		return &unwoundError{}
	}
	return &unwoundError{value: recovered, stack: debug.Stack()}
}

// sound returns an error of the user's, or, when one of its methods panics, an error that says so:
// it is asked where nothing could recover. A nil pointer in an error is the usual one of these.
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

// errNone is no error of anybody's.
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
