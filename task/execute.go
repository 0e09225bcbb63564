package task

import (
	"context"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/lastcall-go/lastcall"
)

// start takes a claimed task, and has its handler called as soon as there is a slot for it. The run
// is entered in the runSet before it asks for a slot, and at last call the slots are closed before
// the runs are notified: so either side finds the other.
func (w *Worker) start(t *Task, now time.Time) {
	e, ok := w.mux.lookup(t.Kind)
	if !ok { // the store returned a task that was not asked for
		w.log.Error("store handed out a task of an unknown kind", "task", t.ID, "kind", t.Kind)
		return
	}
	r := &Run{store: w.store, saver: &w.saver, claims: &w.claims, policy: &e.policy, handle: e.handle, version: w.version, task: *t, claimed: now, suspect: t.Suspect(),
		ctx: runContext{parent: w.labelled(t.Kind)}, stopping: w.lastCall}
	w.handlers.Add(1) // until the end is written
	w.runs.add(r)
	w.pauses.claimed(r)
	w.closeSlotsAtLastCall()
	switch w.slots.acquire(r) {
	case runWaits:
		w.fillSlots(now)
	case runRefused:
		w.giveBack(r)
	case runBegins:
		w.begin(r)
	}
}

// labelledContext is the worker's context with the label of a kind.
type labelledContext struct{ context.Context }

// labelled returns the context of the runs of a kind, with a label for profiles. One goroutine
// calls it.
func (w *Worker) labelled(kind string) context.Context {
	known, ok := w.bases[kind]
	if !ok {
		known = &labelledContext{pprof.WithLabels(w.base, pprof.Labels(kindLabel, kind))}
		w.bases[kind] = known
	}
	return known.Context
}

// closeSlotsAtLastCall does what onLastCall does, in case that has not got so far: a run whose
// handler has seen last call may have made room already, or have handed its task over.
func (w *Worker) closeSlotsAtLastCall() {
	if closed(w.lastCall) {
		w.slots.close()
	}
}

// fillSlots begins the runs that wait for a slot and get one.
func (w *Worker) fillSlots(now time.Time) {
	w.closeSlotsAtLastCall()
	for r := w.slots.next(now); r != nil; r = w.slots.next(now) {
		w.begin(r)
	}
}

// begin has the handler called for a run that has a slot.
func (w *Worker) begin(r *Run) {
	t := &r.task
	if w.log.Enabled(w.base, slog.LevelInfo) {
		w.log.Info("task running", "task", t.ID, "kind", t.Kind, "run", t.Run, "runs", t.Runs, "was", before(t), "worker", t.Worker)
	}
	w.observer.tell(Event{Task: *t, Status: StatusRunning, Waited: waited(t)})
	w.pool.run(r)
}

// run calls a run's handler and has its end recorded. The end is handled in a deferred call, which
// also handles a handler that panics or calls runtime.Goexit.
func (w *Worker) run(r *Run) {
	err := error(errGoexit)
	end := ending{}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: string(debug.Stack())}
		}
		end.err = err
		if end.cause == nil {
			end.cause = r.ctx.cause()
		}
		end.cause = sound(end.cause)
		end.stopping = closed(r.stopping)
		r.ctx.end()
		w.ended(r, &end)
	}()
	pprof.SetGoroutineLabels(r.ctx.parent)
	err = w.execute(r, &end)
}

var errGoexit = &PanicError{Value: "the handler called runtime.Goexit"}

// before returns the status that a claimed task had before the claim.
func before(t *Task) Status {
	if t.Reason != "" && t.Reason != ReasonTurn {
		return StatusInterrupted
	}
	return StatusQueued
}

// resumed reports whether the task was interrupted when it was claimed.
func (r *Run) resumed() bool { return before(&r.task) == StatusInterrupted }

// atLastCall ends a run's context, if its kind has InterruptOnStop.
func (r *Run) atLastCall(cause *lastcall.InterruptError) {
	if r.policy.onStop == InterruptOnStop {
		r.ctx.cancel(cause)
	}
}

// execute calls the handler under its timeout.
func (w *Worker) execute(r *Run, end *ending) error {
	ctx := context.Context(&r.ctx)
	if r.policy.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.policy.timeout, ErrTimeout)
		defer cancel()
		defer func() { end.cause = context.Cause(ctx) }() // before cancel, which would be the cause
	}
	return r.handle(ctx, r)
}

// releaseSlot frees the slot of a run whose handler has returned.
func (w *Worker) releaseSlot(r *Run) {
	now := time.Now()
	if w.slots.release(r, now) {
		w.fillSlots(now)
	}
	w.claims.nudge()
}

// giveBackWaiting releases the runs that wait for a slot, if the first has waited for too long.
func (w *Worker) giveBackWaiting(tooLong time.Duration) {
	for _, r := range w.slots.dismiss(tooLong) {
		w.giveBack(r)
	}
}

// giveBack ends a run that never began as if its task had not been claimed: queued or interrupted
// as before, with the same counters, and in its old place in the queue.
func (w *Worker) giveBack(r *Run) {
	w.slots.releaseKind(r)
	w.pauses.gaveBack(r)
	r.ctx.end()
	c := Change{Fence: r.fence(), Status: before(&r.task), Counters: r.task.Counters, RunAt: r.task.RunAt}
	c.Reason = r.task.Reason // of one that is queued: turn, or none
	if c.Status == StatusInterrupted {
		c.Reason = ReasonReleased
	}
	w.recorder.add(r, &c)
}
