package tasktest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Options say what happens to the task on its way. The zero Options are a way without incidents.
//
// At most one of the incidents, from LastCallAtSave to CrashAtItem, is set. It happens once; the
// runs after it are left alone. If the handler is done before it could happen, the test fails: it
// would have shown nothing. [Outcome].Saves and Items of a way without incidents say how far the
// numbers go, and [Everywhere] goes through all of them. A Step that has been done, and what an
// Each writes, are Saves too.
type Options struct {
	// Checkpoint is what the first run finds, as if an earlier one had saved it. It is encoded as
	// Run.Save does. Nil means none.
	Checkpoint any

	// LastCallAtSave makes the last call during the n-th Save, counted from 1 over all runs: when it
	// returns, Run.Stopping is true, and the context lives until the interrupt, for most of Grace.
	LastCallAtSave int
	// LastCallAfter makes the last call so long after the first run has begun: for handlers that
	// save nothing.
	LastCallAfter time.Duration
	// InterruptAtSave makes the last call and the interrupt during the n-th Save, as when nothing
	// is left of the grace: when it returns, the context has ended. So it has for a run that is to
	// make room for others, see Kind.MaxRunTime.
	InterruptAtSave int
	// CrashAtSave kills the worker when the n-th Save has been recorded, as SIGKILL does: Save does
	// not return, and nothing that the run does from then on reaches the store. A test cannot take
	// a goroutine away: the one that called Save ends as by runtime.Goexit, so its deferred calls
	// still run, and the context of the others ends.
	CrashAtSave int
	// CrashBeforeSave kills the worker just before the n-th Save is recorded: what the handler has
	// done since the last one is forgotten, as the call that a Step has made.
	CrashBeforeSave int
	// LastCallAtItem, InterruptAtItem and CrashAtItem are these for the n-th item of an Each or
	// EachOf, counted over all of them and over all runs. It happens when the item has been done; its
	// cursor is not recorded yet, and after a crash the item is done again.
	LastCallAtItem, InterruptAtItem, CrashAtItem int

	// IgnoresContext says that the handler is known to ignore the end of its context: the test fails
	// if it does not, and goes on if it does, as the next process would when the stop is over. In a
	// bubble the handler's goroutine stands still after the test, unless it has returned by then.
	IgnoresContext bool

	// MaxRuns ends the way after so many runs, to look at the task in between; after a crash it is
	// then still marked as running, as SIGKILL leaves it. 0 means that the task is worked until it
	// has ended; after 100 runs the test fails.
	MaxRuns int
	// Grace is the time for a stop, of which a tenth, at least a second if there is as much, is the
	// reserve. 0 means 30 s, with RealTime 2 s.
	Grace time.Duration
	// RunTimeout bounds each run. One that has not ended by then fails the test, by name. 0 means an
	// hour, with RealTime a minute. In a bubble each run is also bounded by a minute of real time, for
	// handlers that wait for nothing or for somebody outside: for these the clock stands still.
	RunTimeout time.Duration
	// RealTime works without a bubble.
	RealTime bool
}

// Outcome is what became of a task.
type Outcome struct {
	// Task is its record: Status, Reason, Error, Result, Checkpoint, Progress, and the counters.
	task.Task
	// History has its runs, the oldest first.
	History []task.RunRecord
	// Log is what the runs have logged.
	Log string
	// Steps are what is recorded of its steps.
	Steps []task.StepRecord
	// Saves is how many checkpoints Run.Save has recorded, over all runs, and Step and Each with them.
	// One that was handed over with Run.HandOver is not among them.
	Saves int
	// Items is how many items of Each have been done, over all runs.
	Items int
}

// Run works a task with a handler and returns what became of it. The kind has no policy of its own;
// RunTask takes one.
//
// What only a test can get wrong, and an unresponsive handler, ends the test with a message. A
// handler that fails is no failure of the test: look at the Outcome. The worker's log is the
// test's.
func Run[T any](t *testing.T, handler func(ctx context.Context, r *task.Run, args T) error, args T, opt Options) Outcome {
	t.Helper()
	kind := task.Kind[T]{Name: "tasktest"}
	var mux task.Mux
	task.Handle(&mux, kind, handler)
	n, err := kind.Prepare(args, nil)
	if err != nil {
		t.Fatalf("tasktest: %v", err)
	}
	return RunTask(t, &mux, n, opt)
}

// RunTask is Run for a task that [task.Kind.Prepare] has prepared, with the handler, the policy and
// the middleware that a Mux has for its kind.
func RunTask(t *testing.T, mux *task.Mux, n task.NewTask, opt Options) Outcome {
	t.Helper()
	o, err := work(t, mux, n, opt, time.Minute)
	if err != nil {
		t.Fatalf("tasktest: %v", err)
	}
	return o
}

// work has at most so much patience, in real time, with what happens in a bubble.
func work(t *testing.T, mux *task.Mux, n task.NewTask, opt Options, patience time.Duration) (Outcome, error) {
	w, err := newWay(mux, n, opt)
	if err != nil {
		return Outcome{}, err
	}
	out := &output{w: t.Output()}
	defer out.close()
	w.log = slog.New(slog.NewTextHandler(out, nil))

	deadline, bubbled := look(t)
	if bubbled || opt.RealTime {
		err = w.walk(t.Context())
		return w.outcome, err
	}
	if !deadline.IsZero() {
		patience = min(patience, time.Until(deadline)*9/10)
	}
	if err := w.inBubble(t, patience); err != nil {
		return Outcome{}, err // which may have left the way in the middle
	}
	return w.outcome, nil
}

// look returns the test's deadline, zero if it has none, and whether the test is in a bubble: there
// it is said to panic.
func look(t *testing.T) (deadline time.Time, bubbled bool) {
	defer func() { bubbled = recover() != nil }()
	deadline, _ = t.Deadline()
	return deadline, false
}

// inBubble walks in a bubble, which it leaves behind when somebody in it does not come to an end.
// Whoever stays there costs nothing: the clock stands still, since somebody waits for an outsider.
// A bubble that is left behind never ends, whatever its handler does later: its end would concern a
// test that is over.
func (w *way) inBubble(t *testing.T, patience time.Duration) error {
	type end struct {
		err   error
		stays bool // the bubble is left behind: asked once, since the answer may change
	}
	var decided atomic.Bool // by the first of the two: the walk is over, or patience is
	arrived, left, never := make(chan end, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		synctest.Test(t, func(t *testing.T) {
			e := end{err: w.walk(t.Context())}
			e.stays = w.haunted()
			if !decided.CompareAndSwap(false, true) {
				<-never
			}
			arrived <- e
			if e.stays {
				<-never
			}
		})
	}()
	over := func(e end) error {
		if !e.stays {
			<-left
		}
		return e.err
	}
	select {
	case e := <-arrived:
		return over(e)
	case <-left:
		select {
		case e := <-arrived:
			return e.err
		default:
			return errors.New("the bubble ended before the task did")
		}
	case <-time.After(patience):
		if !decided.CompareAndSwap(false, true) {
			return over(<-arrived) // at the last moment
		}
		return fmt.Errorf("after %v of real time the handler of kind %q has not returned: it computes without end, or waits for somebody outside of the bubble, where time stands still; set Options.RealTime if it has to. It stands at\n%s",
			patience.Round(time.Millisecond), w.new.Kind, w.stands())
	}
}

// check completes the options and says what is wrong with them.
func (o *Options) check() error {
	for _, n := range append(o.incidents(), int64(o.MaxRuns), int64(o.Grace), int64(o.RunTimeout)) {
		if n < 0 {
			return fmt.Errorf("no number of the options may be negative: %+v", *o)
		}
	}
	incidents := slices.DeleteFunc(o.incidents(), func(n int64) bool { return n == 0 })
	if len(incidents) > 1 {
		return fmt.Errorf("only one of LastCallAtSave to CrashAtItem can happen: %+v", *o)
	}
	if o.IgnoresContext && (len(incidents) == 0 || o.CrashAtSave+o.CrashBeforeSave+o.CrashAtItem > 0) {
		return fmt.Errorf("whether a handler ignores its context is seen at a last call or an interrupt: set one of them with IgnoresContext")
	}
	grace, limit := 30*time.Second, time.Hour
	if o.RealTime {
		grace, limit = 2*time.Second, time.Minute
	}
	o.Grace, o.RunTimeout = cmp.Or(o.Grace, grace), cmp.Or(o.RunTimeout, limit)
	return nil
}

// incidents are the options of which one may be set.
func (o *Options) incidents() []int64 {
	return []int64{int64(o.LastCallAtSave), int64(o.LastCallAfter), int64(o.InterruptAtSave), int64(o.CrashAtSave), int64(o.CrashBeforeSave),
		int64(o.LastCallAtItem), int64(o.InterruptAtItem), int64(o.CrashAtItem)}
}

// encode returns the checkpoint that the first run finds.
func (o *Options) encode() ([]byte, error) {
	if o.Checkpoint == nil {
		return nil, nil
	}
	b, err := json.Marshal(o.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("Options.Checkpoint: %w", err)
	}
	return b, nil
}
