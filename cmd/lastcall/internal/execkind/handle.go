package execkind

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

const (
	// lookEvery is how often the checkpoint file is checked, and how often output is passed to the
	// run.
	lookEvery = 250 * time.Millisecond
	// tightenEvery is how often, during a stop, the time that is left is checked.
	tightenEvery = 100 * time.Millisecond
	// drainWait is how long to wait for the end of the output after the tree is gone. The output has
	// ended by then, unless a process outside the tree got hold of it.
	drainWait = 500 * time.Millisecond
	// headStart is how long SIGTERM waits for the stop file: a program that gets the signal should
	// find the file.
	headStart = 100 * time.Millisecond
	// obeyWait is how long after the time for SIGKILL the server itself does what the shim has not
	// done.
	obeyWait = time.Second
)

// execution is one run of a program.
type execution struct {
	runner *Runner
	kind   Kind
	run    *task.Run
	*scratch
	console console
	ledger  ledger
	program *supervised
	group   *confine.Cgroup // nil without limits

	told    bool             // by SIGTERM or by the stop file
	killAt  time.Time        // zero until SIGTERM
	overdue <-chan time.Time // the shim must have ended by then; nil before SIGTERM
	notice  notice
	refuse  error // why the last checkpoint was not kept, nil if it was
	// complained is the last such reason that was written to the task's log.
	complained string
}

// handle is the handler of every kind.
func (r *Runner) handle(ctx context.Context, run *task.Run, k Kind, payload []byte) (err error) {
	x := &execution{runner: r, kind: k, run: run}
	if kept := run.Task().Checkpoint; kept != nil {
		if x.ledger.kept, err = unwrap(kept); err != nil {
			return fmt.Errorf("checkpoint of task %s cannot be given to the program: %w", run.ID(), err)
		}
	}
	if x.scratch, err = newScratch(payload, x.ledger.kept); err != nil {
		return lacking(err)
	}
	defer r.tidy(x.remove, run.ID(), k.Name)
	if err := x.confine(); err != nil {
		return lacking(err)
	}
	defer x.unconfine()
	x.ledger.folder, x.notice.folder = x.folder, x.folder
	if err := x.start(); err != nil {
		return lacking(err)
	}
	defer r.forget(x.program)
	return x.attend(ctx)
}

// start starts the program.
func (x *execution) start() (err error) {
	stdin, err := x.folder.open(payloadName)
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	defer stdin.Close()
	var lock *os.File
	if inherit := x.runner.InheritLock; inherit != nil {
		lock, err = inherit(x.run.Task().Worker)
		switch {
		case errors.Is(err, errors.ErrUnsupported): // without locks there is nothing to hold
		case err != nil:
			return fmt.Errorf("lock for the shim: %w", err)
		default:
			defer lock.Close()
		}
	}
	stdout, stderr, err := x.console.pipes()
	if err != nil {
		return err
	}
	st := start{Path: x.kind.Path, Argv: x.kind.Argv, Dir: x.kind.Dir, Env: x.env(x.kind, x.run), Scratch: x.dir,
		Isolation: x.isolation(), Confined: confine.Program{User: x.kind.User, Cgroup: x.group}}
	x.program, err = supervise(x.runner.Keeper, st, streams{stdin, stdout, stderr}, lock, x.kind.Name, x.run.ID())
	_ = closeAll(stdout, stderr) // the program's, from now on
	if err != nil {
		x.drain()
		return err
	}
	x.runner.keep(x.program)
	return nil
}

// attend monitors the program until it has ended, and returns the outcome.
func (x *execution) attend(ctx context.Context) error {
	recorded := make(chan struct{})
	// A save may wait for the store as long as the program lives, but no longer: a checkpoint that has
	// not been saved by then is recorded with the outcome.
	saving, ended := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer close(recorded)
		x.record(saving)
	}()
	tooMuch := make(chan error, 1)
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		if x.kind.MaxTmp > 0 {
			x.measure(tooMuch)
		}
	}()
	cause := x.watch(ctx, tooMuch)
	ended(errProgramEnded)
	<-recorded
	<-measured
	x.notice.Wait()
	x.drain()
	return x.end(ctx, cause)
}

// watch passes a stop to the program, and returns when its tree is gone. The cause is why the
// program was asked to end, nil if it was not.
func (x *execution) watch(ctx context.Context, tooMuch <-chan error) (cause error) {
	lastCall, ended := lastcall.LastCall(ctx), ctx.Done()
	tick := time.NewTicker(tightenEvery)
	defer tick.Stop()
	for {
		select {
		case <-x.program.done:
			return cause
		case <-lastCall: // the program may see the file, and end early
			lastCall = nil
			if cause == nil {
				left, limited := lastcall.TimeLeft(ctx)
				x.announce(left, limited, whyStopped(nil))
			}
		case <-ended:
			if ended = nil; cause == nil {
				cause = context.Cause(ctx)
				x.terminate(ctx, x.kind.KillAfter, whyStopped(cause))
			}
		case full := <-tooMuch:
			cause = cmp.Or(cause, full)
			x.killNow(ctx)
		case <-x.overdue:
			x.overdue = nil
			x.program.end()
		case <-tick.C:
			x.program.wake()
			if cause == nil {
				continue
			}
			// A second signal, or the interrupt after a timeout, may have shortened the time.
			if left := room(ctx, time.Until(x.killAt)); time.Now().Add(left).Before(x.killAt.Add(-tightenEvery)) {
				x.terminate(ctx, left, whyStopped(cause))
			}
		}
	}
}

// room is how long a program may go on after SIGTERM: as long as its kind allows, but in a stop
// there must be time left to kill it and to record the run. That takes milliseconds; on a busy
// machine, where each of the processes waits for its turn, it takes most of a second.
func room(ctx context.Context, killAfter time.Duration) time.Duration {
	left, limited := lastcall.TimeLeft(ctx)
	if !limited {
		return max(0, killAfter)
	}
	return max(0, min(killAfter, left-recording(left)))
}

// recording is how much of the time that is left of a stop is reserved for killing and recording.
func recording(left time.Duration) time.Duration {
	return min(max(left*2/3, 250*time.Millisecond), 2*time.Second)
}

// obey is how long the shim has to kill the tree before the server does so.
func obey(ctx context.Context) time.Duration {
	if left, limited := lastcall.TimeLeft(ctx); limited {
		return min(obeyWait, recording(left)/3)
	}
	return obeyWait
}

// terminate asks the program to end, and has it killed after a time: by the shim, or by the server
// if the shim does not obey.
func (x *execution) terminate(ctx context.Context, killAfter time.Duration, why string) {
	killAfter = room(ctx, killAfter)
	x.killAt = time.Now().Add(killAfter)
	x.overdue = time.After(killAfter + obey(ctx))
	x.announce(killAfter, true, why)
	x.program.stop(time.Until(x.killAt))
}

// announce has the stop file written, and waits a moment for that.
func (x *execution) announce(left time.Duration, limited bool, why string) {
	x.told = true
	select {
	case err := <-x.notice.post(stopLine(left, limited, why)):
		if err != nil {
			x.runner.Logger.Warn("a program was not told of its stop", "task", x.run.ID(), "kind", x.kind.Name, "error", err)
		}
	case <-time.After(headStart):
	}
}

// record passes output, progress and checkpoints to the run while the program runs. It has its own
// goroutine, since it may wait for the store, and neither the program nor its stop must wait for
// that.
func (x *execution) record(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var saved time.Time
	for {
		select {
		case <-x.program.done:
			return
		case <-tick.C:
		}
		x.console.flush(x.run)
		if time.Since(saved) < 4*lookEvery { // each save is a write to the disk
			continue
		}
		b, isNew, err := x.ledger.changed()
		if err == nil && isNew {
			saved = time.Now()
			err = x.save(ctx, b)
		}
		if ctx.Err() != nil {
			return
		}
		x.refused(err)
	}
}

// errProgramEnded cancels a save whose program has ended meanwhile.
var errProgramEnded = errors.New("the program has ended")

// save records a checkpoint.
func (x *execution) save(ctx context.Context, b []byte) error {
	kept, err := wrap(b)
	if err != nil {
		return err
	}
	if err := x.run.Save(ctx, kept); err != nil {
		return err
	}
	x.ledger.kept = b
	return nil
}

// refused records why a checkpoint was not kept, and writes it to the task's log once.
func (x *execution) refused(err error) {
	if x.refuse = err; err == nil || err.Error() == x.complained {
		return
	}
	x.complained = err.Error()
	x.run.Log("[lastcall: checkpoint not kept: " + x.complained + "]")
}

// drain reads the rest of the output.
func (x *execution) drain() {
	read := make(chan struct{})
	go func() {
		x.console.readers.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(drainWait):
		x.runner.Logger.Warn("somebody still holds the output of a program whose processes are gone", "task", x.run.ID(), "kind", x.kind.Name)
	}
	x.console.close()
	<-read
	x.console.flush(x.run)
}

// end returns how the run ended. It is called when nothing of the program is left.
func (x *execution) end(ctx context.Context, cause error) error {
	for _, trouble := range x.program.trouble() {
		x.runner.Logger.Warn("trouble with a program", "task", x.run.ID(), "kind", x.kind.Name, "trouble", trouble)
	}
	err := x.outcome(ctx, cause)
	if err == nil {
		return nil // after a success the checkpoint is of no use
	}
	b, isNew, lookErr := x.ledger.last()
	kept := []byte(nil)
	if lookErr == nil && isNew {
		kept, lookErr = wrap(b)
	}
	if x.refused(lookErr); lookErr != nil {
		return notKept(err, lookErr)
	}
	if kept == nil {
		return err
	}
	// The checkpoint and the outcome are recorded in one write.
	return carry(err, x.run.HandOver(json.RawMessage(kept)))
}

// outcome is how the run ended, without its checkpoint.
func (x *execution) outcome(ctx context.Context, cause error) error {
	p := x.program
	if p.failed != nil {
		return x.kind.notStarted(p.failed)
	}
	if err := p.lost(); err != nil && (!p.forced || cause == nil) {
		if p.neverBegan() {
			return lacking(errors.Join(err, p.left))
		}
		return task.Crashed(errors.Join(err, p.left))
	}
	exit := proc.Exit{Code: -1, Signal: syscall.SIGKILL, Killed: true}
	if p.exit != nil {
		exit = *p.exit
		exit.Killed = exit.Killed || p.forced
	}
	err := x.kind.outcome(fate{exit: exit, cause: cause, told: x.told, complaint: x.console.complaint(), memory: x.group.OutOfMemory()})
	if errors.Is(err, errKilled) {
		x.run.Log("[lastcall: " + err.Error() + "]")
	}
	if p.left != nil && err != nil {
		err = fmt.Errorf("%w; %w", err, p.left)
	}
	return err
}

// notKept adds to an outcome that the checkpoint was not kept, so that people see it.
func notKept(err, why error) error {
	if errors.Is(err, task.ErrInterrupted) { // the text of an ErrInterrupted is not recorded
		return fmt.Errorf("interrupted; %w", why)
	}
	return fmt.Errorf("%w; %w", err, why)
}

// carry adds a checkpoint to an outcome: the worker looks for one in every error.
func carry(err, checkpoint error) error {
	if errors.Is(err, task.ErrInterrupted) {
		return checkpoint
	}
	return &carrier{error: err, checkpoint: checkpoint}
}

// carrier is an outcome in which the worker finds a checkpoint. The checkpoint does not turn it
// into an ErrInterrupted: the outcome stays what it was.
type carrier struct {
	error
	checkpoint error
}

func (e *carrier) Unwrap() error      { return e.error }
func (e *carrier) As(target any) bool { return errors.As(e.checkpoint, target) }
