package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

// work is a payload: a number of steps, each with an effect in the ledger.
type work struct {
	Steps int
	// Pace is how long a step takes before its effect.
	Pace time.Duration
	// Slow is how long the handler takes to return after its context has ended.
	Slow time.Duration `json:",omitempty"`
	// InTx: the last step's effect and the task's end are one transaction.
	InTx bool `json:",omitempty"`
	// Exact: each step's effect and its checkpoint are one transaction.
	Exact bool `json:",omitempty"`
	// Hang is the number of steps after which an unresponsive first run does nothing more.
	Hang int `json:",omitempty"`
	// Poison: the handler kills its process after a while.
	Poison bool `json:",omitempty"`
	// Gate is a file that a second run waits for before it continues.
	Gate string `json:",omitempty"`
}

// The kinds. No task ever fails for good, which keeps the checker's rule simple: every accepted
// task succeeds.
var (
	// steps saves a checkpoint after each step.
	steps = task.Kind[work]{Name: "steps", MaxCrashes: -1}
	// handover saves a checkpoint only when it hands over, at last call.
	handover = task.Kind[work]{Name: "handover", MaxCrashes: -1}
	// unresponsive ignores its context in the first run, and never returns from it.
	unresponsive = task.Kind[work]{Name: "unresponsive", MaxCrashes: -1}
	// stale continues in its first run until its context ends, and then tries to write nevertheless.
	stale = task.Kind[work]{Name: "stale", MaxCrashes: -1}
	// bare leaves nothing but its end, and hands over at last call.
	bare = task.Kind[work]{Name: "bare", MaxCrashes: -1, OnStop: task.InterruptOnStop}
	// mortal lasts for Pace, then succeeds, or kills its process. It fails after three crashes.
	mortal = task.Kind[work]{Name: "mortal", MaxCrashes: 3}
)

func (p *workerProgram) mux() *task.Mux {
	m := new(task.Mux)
	task.Handle(m, steps, p.steps)
	task.Handle(m, handover, p.handover)
	task.Handle(m, unresponsive, p.unresponsive)
	task.Handle(m, stale, p.stale)
	task.Handle(m, bare, p.bare)
	task.Handle(m, mortal, p.mortal)
	return m
}

// mortal reports in which process it runs before it succeeds or kills that.
func (p *workerProgram) mortal(ctx context.Context, r *task.Run, a work) error {
	fmt.Printf("begun task=%s\n", r.ID())
	if pause(ctx, a.Pace) && a.Poison {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		return errors.Join(err, errors.New("still alive"))
	}
	return ctx.Err()
}

// begin returns the step at which a run resumes.
func (p *workerProgram) begin(ctx context.Context, r *task.Run) (at int, err error) {
	if _, err := r.Load(&at); err != nil {
		return 0, err
	}
	return at, p.effect(ctx, r, begun)
}

// step does a step and saves a checkpoint.
func (p *workerProgram) step(ctx context.Context, r *task.Run, at int, pace time.Duration) error {
	if !pause(ctx, pace) {
		return context.Cause(ctx)
	}
	if err := p.effect(ctx, r, at); err != nil {
		return err
	}
	return r.Save(ctx, at+1)
}

func (p *workerProgram) steps(ctx context.Context, r *task.Run, a work) error {
	err := p.allSteps(ctx, r, a)
	if ctx.Err() != nil {
		pause(context.WithoutCancel(ctx), a.Slow)
	}
	return err
}

func (p *workerProgram) allSteps(ctx context.Context, r *task.Run, a work) error {
	at, err := p.begin(ctx, r)
	last := a.Steps
	if a.InTx {
		last--
	}
	for ; err == nil && at < last; at++ {
		if !a.Exact {
			err = p.step(ctx, r, at, a.Pace)
		} else if pause(ctx, a.Pace) {
			err = p.inTx(ctx, r, at, func(tx task.Tx) error { return r.SaveTx(ctx, tx, at+1) })
		} else {
			err = context.Cause(ctx)
		}
	}
	if err != nil || !a.InTx {
		return err
	}
	return p.inTx(ctx, r, at, func(tx task.Tx) error { return r.FinishTx(ctx, tx) })
}

// inTx does a step, and what belongs to it, in one transaction.
func (p *workerProgram) inTx(ctx context.Context, r *task.Run, at int, with func(task.Tx) error) (err error) {
	tx, err := p.ledger.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if err := p.ledger.add(ctx, tx, effect{r.ID(), at, r.FencingToken(), os.Getpid()}); err != nil {
		return err
	}
	if err := with(pgstore.SQLTx(tx)); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	fmt.Printf("did task=%s step=%d\n", r.ID(), at)
	return nil
}

func (p *workerProgram) handover(ctx context.Context, r *task.Run, a work) error {
	at, err := p.begin(ctx, r)
	for ; err == nil && at < a.Steps; at++ {
		if r.Stopping() {
			return r.HandOver(at)
		}
		if !pause(ctx, a.Pace) {
			return context.Cause(ctx)
		}
		err = p.effect(ctx, r, at)
	}
	return err
}

func (p *workerProgram) unresponsive(ctx context.Context, r *task.Run, a work) error {
	if r.Task().Runs > 1 {
		return p.steps(ctx, r, a)
	}
	unheard := context.WithoutCancel(ctx)
	at, err := p.begin(unheard, r)
	p.log.Info("hears nothing", "task", r.ID())
	for ; err == nil && at < a.Hang; at++ {
		err = p.step(unheard, r, at, a.Pace)
	}
	<-make(chan struct{}) // it only ends with the process
	return nil
}

func (p *workerProgram) stale(ctx context.Context, r *task.Run, a work) error {
	at, err := p.begin(ctx, r)
	fmt.Printf("holds task=%s runs=%d\n", r.ID(), r.Task().Runs)
	if r.Task().Runs > 1 {
		for ; err == nil && at < a.Steps; at++ {
			if at == a.Steps-1 && !waitFile(ctx, a.Gate) {
				return context.Cause(ctx)
			}
			err = p.step(ctx, r, at, a.Pace)
		}
		return err
	}
	// Leave the last step to the second run.
	for ; err == nil && at < a.Steps-1; at++ {
		err = p.step(ctx, r, at, a.Pace)
	}
	<-ctx.Done()
	unheard := context.WithoutCancel(ctx)
	late, saved := p.effect(unheard, r, at), r.Save(unheard, at+1000)
	fmt.Printf("late task=%s fate=%t,%t,%t cause=%q effect=%q save=%q\n", r.ID(),
		errors.Is(context.Cause(ctx), task.ErrLeaseLost), errors.Is(late, errStale), errors.Is(saved, task.ErrLeaseLost),
		context.Cause(ctx), late, saved)
	return nil // it comes too late as well
}

func (p *workerProgram) bare(ctx context.Context, _ *task.Run, a work) error {
	if !pause(ctx, a.Pace) {
		return context.Cause(ctx)
	}
	return nil
}

// waitFile waits until a file exists, and reports whether ctx is still active.
func waitFile(ctx context.Context, path string) bool {
	for {
		if _, err := os.Stat(path); err == nil {
			return true
		}
		if !pause(ctx, 20*time.Millisecond) {
			return false
		}
	}
}
