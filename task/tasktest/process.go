package tasktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// process plays a process: a group with a worker that runs one task once, and the store as that
// worker sees it. When it is dead, none of its calls reaches the store.
type process struct {
	task.Store
	way       *way
	group     *lastcall.Group
	interrupt context.CancelCauseFunc // set before the worker begins

	mu       sync.Mutex
	worker   string // the incarnation
	claimed  bool
	struck   bool // what the options say has happened here
	late     bool // stopped by Options.RunTimeout
	dead     bool
	returned bool // the handler, after it was left behind
	timers   []*time.Timer
}

var (
	errKilled = errors.New("tasktest: the process was killed")
	errDead   = fmt.Errorf("%w: %w", task.ErrClosed, errKilled) // ends every attempt to write
)

// live works until the run has ended and returns the group's report.
func (p *process) live(ctx context.Context) (lastcall.Report, error) {
	w, err := task.NewWorker(task.WorkerConfig{Store: p, Mux: p.way.mux, Concurrency: 1, Retention: -1, Logger: p.way.log,
		Name: "tasktest", Observe: p.observe})
	if err != nil {
		return lastcall.Report{}, err
	}
	if p.group, err = lastcall.New(ctx, p.config()); err != nil {
		return lastcall.Report{}, err
	}
	err = p.group.Go("worker", func(ctx context.Context) error {
		ctx, p.interrupt = context.WithCancelCause(ctx)
		defer p.interrupt(nil)
		// The handler's goroutine inherits the label; if it does not return, it is found by that.
		ctx = pprof.WithLabels(ctx, pprof.Labels(labelKey, p.label()))
		pprof.SetGoroutineLabels(ctx)
		return w.Serve(ctx)
	})
	if err != nil {
		return lastcall.Report{}, err
	}
	report := p.group.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, timer := range p.timers {
		timer.Stop()
	}
	return report, nil
}

// observe ends the process with its run, and notices the return of a handler that was recorded as
// unresponsive.
func (p *process) observe(_ context.Context, e task.Event) {
	if e.Status == task.StatusRunning || e.Reclaimed { // the end of the process before
		return
	}
	p.group.Stop(nil)
	if e.Stale {
		p.mu.Lock()
		p.returned = true
		p.mu.Unlock()
	}
}

// config gives the group the grace. If the interrupt comes with the last call, the grace is what is
// left then: the group abandons its goroutines when the first half of the reserve is over.
func (p *process) config() lastcall.Config {
	cfg := lastcall.Config{Grace: p.way.opt.Grace, Reserve: p.way.reserve(), Delay: -1, Logger: p.way.log}
	if p.way.opt.InterruptAtSave+p.way.opt.InterruptAtItem > 0 && !p.way.done() {
		cfg.Grace, cfg.Reserve = p.way.reserve()*2/3, p.way.reserve()/3
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		cfg.Grace += time.Second // which a group takes off in a cluster, for the kubelet
	}
	return cfg
}

// Claim returns the task once.
func (p *process) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return nil, errDead
	}
	if p.claimed {
		return nil, nil
	}
	got, err := p.Store.Claim(ctx, req)
	if err != nil || len(got) == 0 {
		return got, err
	}
	p.claimed, p.worker = true, req.Worker
	p.timers = append(p.timers, time.AfterFunc(p.way.opt.RunTimeout, func() {
		p.mu.Lock()
		p.late = true
		p.mu.Unlock()
		p.group.Stop(nil)
	}))
	if after := p.way.opt.LastCallAfter; after > 0 && !p.way.done() {
		p.timers = append(p.timers, time.AfterFunc(after, func() {
			p.strike()
			p.group.Stop(nil)
		}))
	}
	for i := range got {
		got[i] = p.way.begun(got[i])
	}
	return got, nil
}

// Apply counts the checkpoints, and triggers what is to happen at one of them.
func (p *process) Apply(ctx context.Context, changes []task.Change) []error {
	if p.gone(changes) {
		errs := make([]error, len(changes))
		for i := range errs {
			errs[i] = errDead
		}
		return errs
	}
	if slices.ContainsFunc(changes, saves) {
		p.saving()
	}
	errs := p.Store.Apply(ctx, changes)
	for i, c := range changes {
		switch {
		case errs[i] != nil:
		case saves(c):
			p.saved()
		case c.Reclaimed && c.Status.Ended(): // there is nothing to be run
			p.group.Stop(nil)
		}
	}
	return errs
}

// gone reports whether the process is dead, and notices the return of a handler that it left
// behind.
func (p *process) gone(changes []task.Change) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range changes {
		p.returned = p.returned || p.dead && c.Status != task.StatusRunning
	}
	return p.dead
}

// saves reports whether a change is a Save, or one of Step or Each.
func saves(c task.Change) bool {
	return c.Status == task.StatusRunning && (c.Checkpoint != nil || c.Step != nil)
}

// saving is called before a Save is recorded.
func (p *process) saving() {
	p.way.mu.Lock()
	n := p.way.saves + 1
	p.way.mu.Unlock()
	if n == p.way.opt.CrashBeforeSave && !p.way.done() {
		p.crash()
	}
}

// saved is called in the middle of Run.Save.
func (p *process) saved() {
	w := p.way
	w.mu.Lock()
	w.saves++
	n := w.saves
	w.mu.Unlock()
	p.incident(n, w.opt.LastCallAtSave, w.opt.InterruptAtSave, w.opt.CrashAtSave)
}

// ItemDone is called by task.Each, in the handler's goroutine.
func (p *process) ItemDone(string) {
	w := p.way
	w.mu.Lock()
	w.items++
	n := w.items
	w.mu.Unlock()
	p.incident(n, w.opt.LastCallAtItem, w.opt.InterruptAtItem, w.opt.CrashAtItem)
}

// incident triggers what is to happen at the n-th of something.
func (p *process) incident(n, lastCall, interrupt, crash int) {
	switch n {
	case lastCall:
		p.strike()
		p.group.Stop(nil)
	case interrupt:
		p.strike()
		p.group.Stop(nil)
		p.interrupt(&lastcall.InterruptError{Until: time.Now().Add(p.way.patience())})
	case crash:
		p.crash()
	}
}

// crash ends the process, and the goroutine that calls it.
func (p *process) crash() {
	p.strike()
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.group.Stop(nil)
	p.interrupt(errKilled)
	runtime.Goexit()
}

// strike notes that the incident of the options happens here and now.
func (p *process) strike() {
	p.mu.Lock()
	p.struck = true
	p.mu.Unlock()
	p.way.mu.Lock()
	p.way.happened = true
	p.way.mu.Unlock()
}

// done reports whether what was to happen has happened.
func (w *way) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.happened
}

// leave ends a process whose handler has not returned: the platform kills it.
func (p *process) leave() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.way.store.Kill(p.worker)
}

// told describes, for people, how the run was notified of the stop.
func (p *process) told() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.late:
		return fmt.Sprintf("it had not returned after %v, so it was told to stop", p.way.opt.RunTimeout)
	case p.way.opt.InterruptAtSave > 0:
		return fmt.Sprintf("it was interrupted at save %d", p.way.opt.InterruptAtSave)
	case p.way.opt.InterruptAtItem > 0:
		return fmt.Sprintf("it was interrupted at item %d", p.way.opt.InterruptAtItem)
	case p.way.opt.LastCallAtItem > 0:
		return fmt.Sprintf("last call was made at item %d", p.way.opt.LastCallAtItem)
	case p.way.opt.LastCallAtSave > 0:
		return fmt.Sprintf("last call was made at save %d", p.way.opt.LastCallAtSave)
	}
	return fmt.Sprintf("last call was made after %v", p.way.opt.LastCallAfter)
}

// Heartbeat is the store's, unless the process is dead.
func (p *process) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return task.BeatReply{}, errDead
	}
	return p.Store.Heartbeat(ctx, b)
}

// Reclaim is the store's, unless the process is dead.
func (p *process) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return task.ReclaimReply{}, errDead
	}
	return p.Store.Reclaim(ctx, req)
}
