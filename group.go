package lastcall

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/internal/stackdump"
)

// A Group is a set of named goroutines, servers and closers that stop
// together. Main creates one for a program; New creates one for a library, a test
// or a part of a program. Its methods may be called from any goroutine.
//
// A stop begins at the first of these:
//
//   - a stop signal (Main)
//   - a call of Stop
//   - the end of the parent's context (New)
//   - an error or panic of a Go
//   - the early return of a Loop or a server
//   - an error of setup
//   - the end of all work: setup has returned, every goroutine has returned, and no Loop
//     or server is left (a server of ServeUntilClose does not count). A program that has
//     nothing left to do thus ends by itself. For a group made by New, the first Wait takes the
//     place of setup's return.
//
// A group never restarts anything.
type Group struct {
	cfg    Config
	log    *slog.Logger
	budget budget
	id     uint64
	dump   func() iter.Seq[stackdump.Record] // takes the stacks of all goroutines
	values context.Context                   // the parent's values, without its end
	outer  *Group                            // the group that the parent's context belongs to, or nil
	unhook []func() bool                     // removes the callbacks on the parent
	events func(phase)                       // Main's callback at each phase of a stop; nil for New
	person bool                              // Main was started from a terminal

	// One context for each moment of a stop at which contexts end.
	loopEnd, workEnd, lastEnd, setupEnd context.Context
	endLoops                            context.CancelCauseFunc // at last call
	endWork                             context.CancelCauseFunc // at Interrupt
	endLast                             context.CancelCauseFunc // at Abandon
	// At last call while setup runs, else at Interrupt.
	endSetup context.CancelCauseFunc

	registry registry
	journal  journal
	phase    atomic.Int32  // grows only; written under mu
	live     atomic.Int64  // goroutines that have not returned, plus gateClosed
	ready    atomic.Bool   // the result of Ready
	armed    atomic.Bool   // when the last goroutine returns, a stop begins
	changed  chan struct{} // capacity 1: wakes the driver
	done     chan struct{} // closed by the driver, as its last act

	mu        sync.Mutex // guards what follows
	setupRuns bool
	at        deadlines
	pulse     pulse
	servers   []server
	lasting   []*lasting
	open      bool // a server of Main listens for other machines: the delay has a default
	warned    bool // the warning about a server without a delay is logged
	closers   []closer
	closed    bool // the last closer has run
	reloads   int  // 1: a reload runs, 2: another one follows it
	report    Report

	final Report // the result of Wait; written before done is closed
}

// phase is the phase of a stop. It only grows.
type phase int32

const (
	running phase = iota
	lastCall
	draining
	interrupted
	abandoned
	closing
	ended
)

func (p phase) String() string {
	return [...]string{"running", "last call", "drain", "interrupt", "abandon", "close", "ended"}[p]
}

// gateClosed is the bit of Group.live that is set when nothing may start any more. Starts
// and the closing of the gate change the same atomic number, so they have an order.
const gateClosed = 1 << 62

var groupIDs atomic.Uint64

// New creates a Group that never touches signals and never ends the process. The
// end of ctx is a last call, not a cancellation: the group's goroutines get only
// the values of ctx. If ctx belongs to another group, the last call and the Interrupt of
// that group apply to this one too, and this group must be over by that group's Abandon.
//
// The error names the durations that cannot fit, with the numbers. The group lives
// until Wait returns. A group that is never stopped holds a callback on ctx, but no
// goroutine. It notices a freeze (see Config.OnThaw) only during a stop.
func New(ctx context.Context, cfg Config) (*Group, error) {
	if cfg.Signals != nil || cfg.GraceFlag != 0 {
		return nil, errors.New("lastcall: Config.Signals and Config.GraceFlag are for Main; a Group made by New is stopped by its parent context or by Stop")
	}
	g, err := newGroup(ctx, cfg)
	if err != nil {
		return nil, err
	}
	g.ready.Store(true)
	parentEnds := func() { g.begin(nil, nil) }
	g.mu.Lock() // if the parent has ended already, its callbacks wait until all are registered
	defer g.mu.Unlock()
	if g.outer != nil {
		g.unhook = append(g.unhook,
			context.AfterFunc(g.outer.loopEnd, parentEnds),
			context.AfterFunc(g.outer.workEnd, func() {
				parentEnds() // the two callbacks may run in either order
				g.interruptNow()
			}))
	}
	g.unhook = append(g.unhook, context.AfterFunc(ctx, parentEnds))
	return g, nil
}

func newGroup(ctx context.Context, cfg Config) (*Group, error) {
	b, err := cfg.budget(os.Getenv(kubernetesHost) != "")
	if err != nil {
		return nil, err
	}
	g := &Group{
		cfg: cfg, log: safelog.New(cfg.Logger), budget: b,
		id:     groupIDs.Add(1),
		dump:   stackdump.Take,
		values: context.WithoutCancel(ctx), outer: groupOf(ctx),
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	g.loopEnd, g.endLoops = context.WithCancelCause(context.Background())
	g.workEnd, g.endWork = context.WithCancelCause(context.Background())
	g.lastEnd, g.endLast = context.WithCancelCause(context.Background())
	g.setupEnd, g.endSetup = context.WithCancelCause(context.Background())
	g.registry.init()
	return g, nil
}

// Ready reports whether setup has returned without an error and no stop has
// begun. Use it for a readiness probe: listeners are bound before they are
// passed to the group, so they accept connections by then. A group made by New has
// no setup and is ready from the start.
func (g *Group) Ready() bool { return g.ready.Load() }

// Stop makes the last call and returns at once; Wait waits until the stop is over. A nil
// cause is an ordinary end. Any other cause is a failure: it is in the report, and the
// exit code is 1. Only the first stop counts.
func (g *Group) Stop(cause error) { g.begin(cause, nil) }

// Wait waits until the group has stopped and returns the report of the stop.
// From the first Wait on, a group made by New stops by itself when everything
// has returned. Wait may be called any number of times and returns the same report
// each time. A goroutine of the group must not call it: it would wait for
// itself, and be abandoned.
func (g *Group) Wait() Report {
	g.arm()
	<-g.done
	return g.final
}

// Defer registers a closer. Closers run at the end of a stop, the last registered
// first, after every goroutine and request has returned or was abandoned. Each
// closer may use all the time that is left, less what is kept for those that have not
// run yet: a twentieth of the closers' time each, 100 ms at least, but no more than half of
// it together. Then its context ends. A closer that still does not return is abandoned and
// named in the report, and the next one runs. The error or panic of a closer is a failure;
// the others run.
//
// A closer that is registered after the last one has run is called at once, so that
// nothing opened late stays open. Defer waits for it, for half the reserve at most. Its
// failure is logged.
func (g *Group) Defer(name string, fn func(context.Context) error) {
	if fn == nil {
		panic("lastcall: Defer(" + name + "): nil function")
	}
	c := closer{name: name, callSite: callSite(2), fn: fn}
	g.mu.Lock()
	late := g.closed
	if !late {
		g.closers = append(g.closers, c)
	}
	g.mu.Unlock()
	if late {
		g.runLate(c)
	}
}

// closeGate makes every later start fail; a second call does nothing.
func (g *Group) closeGate() { g.live.Or(gateClosed) }

func (g *Group) stopping() bool { return phase(g.phase.Load()) != running }

// arm lets the group end by itself once everything has returned.
func (g *Group) arm() {
	if g.armed.CompareAndSwap(false, true) && g.live.Load() == 0 {
		g.begin(nil, nil)
	}
}

// begin makes the last call, unless it was made before, and reports whether this
// call made it. A cause is a failure.
func (g *Group) begin(cause error, sig os.Signal) bool {
	now := time.Now()
	g.mu.Lock()
	if g.stopping() {
		g.mu.Unlock()
		return false
	}
	g.ready.Store(false)
	g.report.Cause, g.report.Signal, g.report.Began = cause, sig, now
	if cause != nil {
		g.report.Failures = append(g.report.Failures, cause)
	}
	var limit time.Time
	if g.outer != nil {
		limit = g.outer.untilAbandon()
	}
	b := g.budget
	if g.open && !(g.person && sig == os.Interrupt) {
		b.delay = b.openDelay
	}
	g.at = b.from(now, limit)
	if len(g.servers) == 0 {
		g.at.delay = now
		g.closeGate() // no server still accepts requests: from now on nothing starts
	}
	g.pulse.start(now, stopPulse)
	// Before any context ends: code that sees the end finds the phase set.
	g.phase.Store(int32(lastCall))
	setupRuns := g.setupRuns
	g.mu.Unlock()

	g.journal.queue()
	g.endLoops(ErrStopping)
	if setupRuns {
		g.endSetup(ErrStopping)
	}
	go g.drive()
	return true
}

// interruptNow brings Interrupt forward to this moment, after a second signal or at
// the Interrupt of the outer group. Before last call it does
// nothing. In the closing phase it shortens the time of the closers.
func (g *Group) interruptNow() {
	now := time.Now()
	g.mu.Lock()
	if p := phase(g.phase.Load()); p == running || p == ended {
		g.mu.Unlock()
		return
	}
	b := g.budget
	if g.outer != nil {
		if limit := g.outer.untilAbandon(); !limit.IsZero() {
			b = b.within(limit.Sub(now))
		}
	}
	b.hasten(&g.at, now)
	g.mu.Unlock()
	g.wake()
}

// untilAbandon returns the moment of Abandon, at which a group inside this one must be over.
func (g *Group) untilAbandon() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at.abandon
}

// wake makes the driver check again the condition that it waits for.
func (g *Group) wake() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

const maxFailures = 100

// fail adds a failure to the report and begins a stop.
func (g *Group) fail(err error) {
	if g.begin(err, nil) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.report.Failures) < maxFailures && phase(g.phase.Load()) != ended {
		g.report.Failures = append(g.report.Failures, err)
	}
}

// maxNotes bounds the notes of a group.
const maxNotes = 100

// AddNote adds a note to the Report of the group that ctx belongs to. The report itself
// counts only goroutines and requests. A goroutine that works through a list of its own
// adds a note with the outcome as soon as it knows it, since the goroutine may be abandoned
// later. A note replaces an earlier one of the same name. A group keeps at most 100 notes and
// ignores those that come after its report. Outside a group AddNote does nothing.
func AddNote(ctx context.Context, name, text string) {
	g := groupOf(ctx)
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if phase(g.phase.Load()) == ended {
		return
	}
	notes := g.report.Notes
	if i := slices.IndexFunc(notes, func(n Note) bool { return n.Name == name }); i >= 0 {
		notes[i].Text = text
	} else if len(notes) < maxNotes {
		g.report.Notes = append(notes, Note{name, text})
	}
}
