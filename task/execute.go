package task

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall"
)

// start takes a claimed task, and has its handler called as soon as there is a slot for it.
func (w *Worker) start(t *Task, now time.Time) {
	e, ok := w.mux.lookup(t.Kind)
	if !ok { // a store that hands out what was not asked for
		w.log.Error("store handed out a task of an unknown kind", "task", t.ID, "kind", t.Kind)
		return
	}
	r := &Run{store: w.store, saver: &w.saver, policy: &e.policy, handle: e.handle, task: *t, claimed: now, suspect: t.Suspect(),
		ctx: runContext{parent: w.base}, stopping: w.lastCall}
	w.handlers.Add(1) // until the end is written
	w.mu.Lock()
	w.running.add(r)
	if e.policy.concurrency > 0 {
		w.busy[t.Kind]++
	}
	if r.suspect {
		w.suspects++
	}
	begins, waits := w.acquireSlot(r)
	late := w.called
	w.mu.Unlock()
	switch {
	case waits:
		w.fillSlots(now)
		return
	case !begins:
		w.giveBack(r)
		return
	case late:
		r.atLastCall(w.lastCallCause())
	}
	w.begin(r)
}

// run calls a run's handler and has its end recorded. The end is handled in a deferred call: so is
// that of a handler that panics, or calls runtime.Goexit.
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
		end.stopping = closed(r.stopping)
		r.ctx.end()
		w.ended(r, &end)
	}()
	err = w.execute(r, &end)
}

var errGoexit = &PanicError{Value: "the handler called runtime.Goexit"}

// before says, for the log, what a claimed task was.
func before(t *Task) Status {
	if t.Reason != "" {
		return StatusInterrupted
	}
	return StatusQueued
}

// onLastCall ends the contexts of the runs whose kinds want it so when last call comes.
func (w *Worker) onLastCall() {
	<-w.lastCall
	w.mu.Lock()
	w.called = true
	runs := slices.Clone(w.running.runs)
	w.mu.Unlock()
	w.dismissWaiting(0)
	cause := w.lastCallCause()
	for _, r := range runs {
		r.atLastCall(cause)
	}
}

// lastCallCause is that of contexts which end at last call.
func (w *Worker) lastCallCause() *lastcall.InterruptError {
	left, _ := lastcall.TimeLeft(w.base)
	return &lastcall.InterruptError{Until: time.Now().Add(left)}
}

// atLastCall ends a run's context, if its kind wants that.
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

// ended decides what becomes of a run whose handler has returned, and has it written.
func (w *Worker) ended(r *Run, end *ending) {
	w.releaseSlot(r)
	var c Change
	switch {
	case r.decided.Swap(true): // as deaf
		r.close(end, &c)
		w.lost(r, &c, ErrAlreadyFinished)
		return
	case r.inTx:
		w.verify(r, end)
		return
	case isLoss(end.cause):
		r.close(end, &c)
		w.lost(r, &c, ErrLeaseLost)
		w.forget(r)
		return
	}
	r.close(end, &c)
	if c.Reason == ReasonRequested {
		w.avoid(c.Task) // before it can be claimed again
	}
	w.recorder.add(r, &c)
}

// isLoss says whether a context has ended because its run is somebody else's.
func isLoss(cause error) bool {
	return errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrWorkerGone)
}

// verify finds out what became of the transaction in which a run was finished.
func (w *Worker) verify(r *Run, end *ending) {
	f := r.fence()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		// A change that changes nothing is refused when the run is no longer held.
		err := w.store.Apply(w.last, []Change{{Fence: f, Status: StatusRunning, Counters: r.Task().Counters}})[0]
		switch {
		case err == nil: // the transaction was rolled back
			if end.err == nil {
				end.err = errors.New("the handler returned nil, but the transaction of its FinishIn was rolled back")
			}
			var c Change
			r.close(end, &c)
			w.recorder.add(r, &c)
			return
		case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrNotFound):
			if end.err != nil {
				w.log.Error("error after the task was finished in a transaction; its success stands", "task", f.Task, "error", errorText(end.err))
			}
			w.recorder.add(r, &Change{Fence: f, Status: StatusSucceeded, Counters: r.Task().Counters})
			return
		case !pause(w.last, wait):
			w.unrecordedEnd(r, &Change{Status: StatusSucceeded}, err)
			w.forget(r)
			return
		}
	}
}

// errorText is the text of a handler's error, or of the panic of its Error.
func errorText(err error) (text string) {
	var bad *PanicError
	defer func() {
		if bad != nil {
			text = bad.Error()
		}
	}()
	defer recovered(&bad)
	return err.Error()
}

// written is told by the recorder what came of a run's end.
func (w *Worker) written(r *Run, c *Change, err error) {
	switch {
	case err == nil && r.started.IsZero():
		w.log.Info("task given back, it had not begun", "task", c.Task, "kind", r.task.Kind, "run", c.Run, "is", c.Status)
	case err == nil:
		w.logEnd(&r.task, c)
		w.observe(r, Event{Status: c.Status, Reason: c.Reason, Err: c.Error, Waited: waited(&r.task)})
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrAlreadyFinished), errors.Is(err, ErrNotFound):
		w.lost(r, c, err)
	default:
		w.unrecordedEnd(r, c, err)
	}
}

// observe tells of the end of a run that has begun.
func (w *Worker) observe(r *Run, e Event) {
	if w.observer != nil && !r.started.IsZero() {
		e.Task, e.Took = r.Task(), time.Since(r.started)
		w.tell(e)
	}
}

// lost is the end of a run that is somebody else's by now.
func (w *Worker) lost(r *Run, c *Change, err error) {
	t := &r.task
	w.log.Warn("task lost: what it did in the end came too late", "task", t.ID, "kind", t.Kind, "run", t.Run, "status", c.Status, "error", err)
	w.observe(r, Event{Status: c.Status, Reason: c.Reason, Err: c.Error, Stale: true})
}

// unrecordedEnd is an end that could not be written before the worker's time was up.
func (w *Worker) unrecordedEnd(r *Run, c *Change, err error) {
	w.log.Error("outcome not recorded", "task", r.task.ID, "kind", r.task.Kind, "run", r.task.Run, "status", c.Status, "error", err)
	w.mu.Lock()
	w.unrecorded++
	w.mu.Unlock()
}

// forget is for runs of which nothing is left to do.
func (w *Worker) forget(runs ...*Run) {
	w.mu.Lock()
	awaited := w.suspects > 0 || w.room() == 0 // by the goroutine that claims; otherwise vacate has told it
	for _, r := range runs {
		w.running.remove(r)
		if r.suspect {
			w.suspects--
		}
	}
	w.mu.Unlock()
	if awaited {
		w.nudge()
	}
	w.handlers.Add(-len(runs))
}

// logEnd writes the line of a status change.
func (w *Worker) logEnd(t *Task, c *Change) {
	level := slog.LevelInfo
	switch c.Status {
	case StatusFailed:
		level = slog.LevelError
	case StatusQueued:
		level = slog.LevelWarn
	}
	if c.Status == StatusInterrupted && (c.Crashed || c.Counters.InterruptStreak >= 10) {
		level = slog.LevelWarn
	}
	if !w.log.Enabled(w.last, level) {
		return
	}
	args := []any{"task", t.ID, "kind", t.Kind, "run", t.Run}
	if c.Reason != "" {
		args = append(args, "reason", c.Reason)
	}
	if c.Error != "" {
		args = append(args, "error", firstLine(c.Error))
	}
	if c.Delay > 0 {
		args = append(args, "again_in", c.Delay)
	}
	what := "task " + string(c.Status)
	switch {
	case c.Status == StatusQueued:
		what, args = "task queued again", append(args, "attempts", c.Counters.Attempts)
	case c.Crashed:
		args = append(args, "crashes", c.Counters.Crashes)
	case level == slog.LevelWarn:
		args = append(args, "interruptions_without_checkpoint", c.Counters.InterruptStreak)
	}
	w.log.Log(w.last, level, what, args...)
}
