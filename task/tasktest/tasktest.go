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

// Options define what happens to the task. The zero Options are a run without incidents.
//
// At most one of the incidents, from LastCallAtSave to CrashAtItem, is set. It happens once, and
// not to later runs. If the handler is done before it could happen, the test fails, because it
// would have shown nothing. [Outcome].Saves and Items without an incident give the range of the
// numbers, and [Everywhere] goes through all of them. A Step that has been done, and each write of
// an Each, count as Saves too.
type Options struct {
	// Checkpoint is the checkpoint that the first run finds, as if an earlier run had saved it. It is
	// encoded as by Run.Save. Nil means none.
	Checkpoint any

	// LastCallAtSave makes the last call during the n-th Save, counted from 1 over all runs. When that
	// Save returns, Run.Stopping is true, and the context lives until the interrupt, for most of
	// Grace.
	LastCallAtSave int
	// LastCallAfter makes the last call this long after the first run has begun: for handlers that
	// save nothing.
	LastCallAfter time.Duration
	// InterruptAtSave makes the last call and the interrupt during the n-th Save, as when nothing is
	// left of the grace. When that Save returns, the context has ended. A run that has to make room
	// for others sees the same, see Kind.MaxRunTime.
	InterruptAtSave int
	// CrashAtSave kills the worker when the n-th Save has been recorded, as SIGKILL does: Save does
	// not return, and nothing that the run does from then on reaches the store. A test cannot remove a
	// goroutine. So the one that called Save ends as by runtime.Goexit, and its deferred calls still
	// run; the context of the others ends.
	CrashAtSave int
	// CrashBeforeSave kills the worker just before the n-th Save is recorded: what the handler has
	// done since the last one is lost, such as the result of a Step.
	CrashBeforeSave int
	// LastCallAtItem, InterruptAtItem and CrashAtItem are the same for the n-th item of an Each or
	// EachOf, counted over all of them and over all runs. It happens when the item has been done. Its
	// cursor is not recorded yet, and after a crash the item is done again.
	LastCallAtItem, InterruptAtItem, CrashAtItem int

	// IgnoresContext declares that the handler is known to ignore the end of its context. The test
	// fails if the handler does return in time. Otherwise it goes on, as the next process would when
	// the stop is over. In a bubble the handler's goroutine is blocked after the test, unless it has
	// returned by then.
	IgnoresContext bool

	// MaxRuns bounds the runs, so that the test can check the task in between. After a crash the task
	// is then still marked as running, as SIGKILL leaves it. 0 means that the task runs until it has
	// ended; after 100 runs the test fails.
	MaxRuns int
	// Grace is the time for a stop. A tenth of it, or a second if that is more and there is as much,
	// is the reserve. 0 means 30 s, with RealTime 2 s.
	Grace time.Duration
	// RunTimeout bounds each run. If one has not ended by then, the test fails and names it. 0 means
	// an hour, with RealTime a minute. In a bubble each run is also bounded by a minute of real time,
	// for handlers that never wait, or that wait for something outside: for these the fake clock
	// stands still.
	RunTimeout time.Duration
	// RealTime runs without a bubble.
	RealTime bool
}

// Outcome is the result of a task.
type Outcome struct {
	// Task is its record: Status, Reason, Error, Result, Checkpoint, Progress, and the counters.
	task.Task
	// History has its runs, the oldest first.
	History []task.RunRecord
	// Log is what the runs have logged.
	Log string
	// Steps are the records of its steps.
	Steps []task.StepRecord
	// Saves is how many checkpoints Run.Save, Step and Each have recorded, over all runs. A checkpoint
	// of Run.HandOver is not counted.
	Saves int
	// Items is how many items of Each have been done, over all runs.
	Items int
}

// Run runs a task with a handler until it has ended, and returns the outcome. The kind has no
// policy of its own; use RunTask for one.
//
// A mistake of the test, and an unresponsive handler, end the test with a message. A handler that
// fails does not make the test fail: check the Outcome. The worker's log goes to the test's.
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

// work waits at most for patience, in real time, for what happens in a bubble.
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

// look returns the test's deadline, zero if it has none, and whether the test is in a bubble, where
// the call is documented to panic.
func look(t *testing.T) (deadline time.Time, bubbled bool) {
	defer func() { bubbled = recover() != nil }()
	deadline, _ = t.Deadline()
	return deadline, false
}

// inBubble walks in a bubble, which it leaves behind if a goroutine in it does not end. A goroutine
// that stays there costs nothing: the clock stands still, since a goroutine waits for one outside.
// A bubble that is left behind never ends, whatever its handler does later: its end would report to
// a test that is over.
func (w *way) inBubble(t *testing.T, patience time.Duration) error {
	type end struct {
		err   error
		stays bool // the bubble is left behind: determined once, since the answer may change
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

// check completes the options and returns what is wrong with them.
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

// incidents returns the options of which at most one may be set.
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
