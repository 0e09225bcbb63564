package tasktest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// maxRuns is the number of runs after which a task counts as one that never ends.
const maxRuns = 100

// way is the life of one task, from its beginning to its end, through one process after the other.
type way struct {
	mux   *task.Mux
	new   task.NewTask
	opt   Options
	given []byte // the checkpoint that was there before
	log   *slog.Logger
	store *memstore.Store

	outcome Outcome

	mu       sync.Mutex
	saves    int
	items    int
	happened bool // what the options say
	now      *process
	behind   *process // whose handler was left behind
}

func newWay(mux *task.Mux, n task.NewTask, opt Options) (*way, error) {
	if mux == nil || !slices.Contains(mux.Kinds(), n.Kind) {
		return nil, fmt.Errorf("the mux has no handler for kind %q", n.Kind)
	}
	if err := opt.check(); err != nil {
		return nil, err
	}
	given, err := opt.encode()
	if err != nil {
		return nil, err
	}
	return &way{mux: mux, new: n, opt: opt, given: given}, nil
}

// walk runs the task and sets the outcome. It creates everything that has a clock or a channel, so
// that these belong to the caller's bubble.
func (w *way) walk(ctx context.Context) (err error) {
	w.store = memstore.New()
	client := task.NewClient(w.store)
	defer func() { err = errors.Join(err, w.store.Close()) }()
	if _, err := client.EnqueueMany(ctx, []task.NewTask{w.new}); err != nil {
		return err
	}
	for {
		t, err := client.Get(ctx, w.new.ID)
		if err != nil {
			return err
		}
		if t.Status.Ended() || w.opt.MaxRuns > 0 && t.Runs >= w.opt.MaxRuns {
			break
		}
		if t.Runs >= maxRuns {
			return fmt.Errorf("after %d runs the task is %s and has not ended (%s): Options.MaxRuns says after how many to look at it", t.Runs, t.Status, t.Error)
		}
		if t.Status.Claimable() {
			time.Sleep(time.Until(t.RunAt))
		}
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	if err := w.collect(ctx, client); err != nil {
		return err
	}
	return w.missed()
}

// step is one process: one run, or the discovery that there is none left.
func (w *way) step(ctx context.Context) error {
	p := &process{Store: w.store, way: w}
	w.mu.Lock()
	w.now = p
	w.mu.Unlock()
	report, err := p.live(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	struck, killed, late := p.struck, p.dead, p.late
	p.mu.Unlock()
	abandoned := len(report.Abandoned) > 0
	if abandoned {
		w.mu.Lock()
		w.behind = p
		w.mu.Unlock()
	}
	switch {
	case killed:
		w.store.Kill(p.worker)
	case abandoned:
		p.leave()
		if !w.opt.IgnoresContext || !struck {
			return fmt.Errorf("the handler of kind %q is unresponsive: %s, and %v after the end of its context it had not returned. It stands at\n%s",
				w.new.Kind, p.told(), w.patience(), w.stands())
		}
	case late:
		return fmt.Errorf("the handler of kind %q had not returned after %v, and did so only when it was told to stop: it waits for something that does not come, or Options.RunTimeout is too small", w.new.Kind, w.opt.RunTimeout)
	case len(report.Failures) > 0:
		return fmt.Errorf("the worker failed: %w", errors.Join(report.Failures...))
	case w.opt.IgnoresContext && struck:
		return fmt.Errorf("the handler of kind %q is not unresponsive: it returned when its context had ended, or before; leave out Options.IgnoresContext", w.new.Kind)
	}
	return nil
}

// collect sets the outcome.
func (w *way) collect(ctx context.Context, c *task.Client) error {
	t, err := c.Get(ctx, w.new.ID)
	if err != nil {
		return err
	}
	log, err := c.Log(ctx, t.ID)
	if err != nil {
		return err
	}
	runs, err := c.History(ctx, t.ID)
	if err != nil {
		return err
	}
	steps, err := c.Steps(ctx, t.ID)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcome = Outcome{Task: w.begun(t), History: runs, Log: string(log), Steps: steps, Saves: w.saves, Items: w.items}
	return nil
}

// missed returns an error if what was to happen has not.
func (w *way) missed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.opt
	switch {
	case w.happened:
		return nil
	case o.LastCallAfter > 0:
		return fmt.Errorf("the handler of kind %q was done before LastCallAfter, %v after its begin: the test has shown nothing", w.new.Kind, o.LastCallAfter)
	case o.LastCallAtSave+o.InterruptAtSave+o.CrashAtSave+o.CrashBeforeSave > 0:
		return fmt.Errorf("the handler of kind %q saved %d times, so what was to happen at save %d did not: the test has shown nothing",
			w.new.Kind, w.saves, o.LastCallAtSave+o.InterruptAtSave+o.CrashAtSave+o.CrashBeforeSave)
	case o.LastCallAtItem+o.InterruptAtItem+o.CrashAtItem > 0:
		return fmt.Errorf("the handler of kind %q has done %d items, so what was to happen at item %d did not: the test has shown nothing",
			w.new.Kind, w.items, o.LastCallAtItem+o.InterruptAtItem+o.CrashAtItem)
	}
	return nil
}

// begun gives a task the initial checkpoint, unless there is another one by now.
func (w *way) begun(t task.Task) task.Task {
	if t.Checkpoint == nil {
		t.Checkpoint = slices.Clone(w.given)
	}
	return t
}

// reserve returns how much of a grace is kept for recording; patience returns how much of that a
// handler has to return when its context has ended. See lastcall.Config.
func (w *way) reserve() time.Duration {
	r := min(max(w.opt.Grace/10, time.Second), 5*time.Second)
	return min(r, w.opt.Grace/2)
}

func (w *way) patience() time.Duration { return w.reserve() / 2 }

// haunted reports whether a handler that was left behind has still not returned.
func (w *way) haunted() bool {
	w.mu.Lock()
	p := w.behind
	w.mu.Unlock()
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.returned
}
