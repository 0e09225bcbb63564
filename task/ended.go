package task

import (
	"errors"
	"log/slog"
	"strings"
	"time"
)

// ended decides the outcome for a run whose handler has returned, and has it written.
func (w *Worker) ended(r *Run, end *ending) {
	end.findLack()
	// Before the slot is free: no task shall be claimed in between.
	delay := w.pauses.returned(r, end.lack)
	w.releaseSlot(r)
	var c Change
	switch {
	case r.decided.Swap(true): // as unresponsive
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
	if end.err != nil {
		r.settleStreaks(w.last)
	}
	r.close(end, &c)
	if c.Reason == ReasonReleased {
		c.Delay = delay
	}
	switch c.Reason { // before it can be claimed again
	case ReasonRequested:
		w.claims.avoid(c.Task)
	case ReasonStop:
		w.awaitLastClaim()
	}
	w.recorder.add(r, &c)
}

// isLoss reports whether a context has ended because its run belongs to another worker.
func isLoss(cause error) bool {
	return errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrWorkerGone)
}

// verify finds out whether the transaction in which a run was finished was committed, and writes
// nothing for it. A store that loses its last commits, as after a failover, may have lost that one
// by the time of a second check, and a success without the transaction must not replace it.
func (w *Worker) verify(r *Run, end *ending) {
	f := r.fence()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		status, err := w.fate(f, r.Task().Counters)
		c := Change{Fence: f, Status: StatusSucceeded, Counters: r.Task().Counters}
		switch {
		case err == nil && status == StatusRunning: // the transaction was rolled back
			if end.err == nil {
				end.err = errors.New("the handler returned nil, but the transaction of its FinishTx was rolled back")
			}
			c = Change{}
			r.close(end, &c)
			w.recorder.add(r, &c)
			return
		case err == nil && status == StatusSucceeded:
			if end.err != nil {
				w.log.Error("error after the task was finished in a transaction; its success stands", "task", f.Task, "error", errorText(end.err))
			}
			w.written(r, &c, nil)
			w.forget(r)
			return
		case err == nil:
			w.lost(r, &c, ErrLeaseLost)
			w.forget(r)
			return
		case !pause(w.last, wait):
			w.unrecordedEnd(r, &c, err)
			w.forget(r)
			return
		}
	}
}

// fate returns the state of a run that was finished in a transaction: still running, succeeded, or
// another worker's.
func (w *Worker) fate(f Fence, n Counters) (Status, error) {
	// A change that changes nothing waits for the transaction, and is refused when the run is no
	// longer held.
	err := w.store.Apply(w.last, []Change{{Fence: f, Status: StatusRunning, Counters: n}})[0]
	if err == nil {
		return StatusRunning, nil
	}
	if !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	runs, err := w.store.History(w.last, f.Task)
	if errors.Is(err, ErrNotFound) { // it has ended, and was pruned
		return StatusSucceeded, nil
	}
	if err != nil {
		return "", err
	}
	for _, h := range runs {
		if h.Run == f.Run && h.Worker == f.Worker && !h.Reclaimed {
			return h.Status, nil
		}
	}
	return StatusInterrupted, nil
}

// errorText returns the text of a handler's error, or of the panic of its Error method.
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

// written is called by the recorder with the result of writing a run's end.
func (w *Worker) written(r *Run, c *Change, err error) {
	switch {
	case err == nil && r.started.IsZero():
		w.log.Info("task given back, it had not begun", "task", c.Task, "kind", r.task.Kind, "run", c.Run, "is", c.Status)
	case err == nil:
		w.logEnd(&r.task, c)
		if closed(w.lastCall) {
			w.tally.add(c)
		}
		w.observer.tellEnd(r, Event{Status: c.Status, Reason: c.Reason, Err: c.Error, Waited: waited(&r.task)})
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrAlreadyFinished), errors.Is(err, ErrNotFound):
		w.lost(r, c, err)
	default:
		w.unrecordedEnd(r, c, err)
	}
}

// lost handles the end of a run that belongs to another worker by now.
func (w *Worker) lost(r *Run, c *Change, err error) {
	t := &r.task
	w.log.Warn("task lost: what it did in the end came too late", "task", t.ID, "kind", t.Kind, "run", t.Run, "status", c.Status, "error", err)
	w.observer.tellEnd(r, Event{Status: c.Status, Reason: c.Reason, Err: c.Error, Stale: true})
}

// unrecordedEnd handles an end that could not be written before the worker's time was up.
func (w *Worker) unrecordedEnd(r *Run, c *Change, err error) {
	w.log.Error("outcome not recorded", "task", r.task.ID, "kind", r.task.Kind, "run", r.task.Run, "status", c.Status, "error", err)
	w.unrecorded.Add(1)
}

// forget removes runs that need nothing more.
func (w *Worker) forget(runs ...*Run) {
	w.note()
	w.runs.remove(runs...)
	if w.slots.forget(runs) {
		w.claims.nudge()
	}
	w.handlers.Add(-len(runs))
}

// clearSuspect handles a run whose task is no longer a suspect: it has saved a new checkpoint.
func (w *Worker) clearSuspect(r *Run) {
	if w.slots.clearSuspect(r) {
		w.claims.nudge()
	}
}

// logEnd logs a status change.
func (w *Worker) logEnd(t *Task, c *Change) {
	level := slog.LevelInfo
	switch c.Status {
	case StatusFailed:
		level = slog.LevelError
	case StatusQueued:
		if c.Reason != ReasonTurn {
			level = slog.LevelWarn
		}
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
	case c.Reason == ReasonTurn:
		what = "task queued again, it makes room for others"
	case c.Status == StatusQueued:
		what, args = "task queued again", append(args, "attempts", c.Counters.Attempts)
	case c.Crashed:
		args = append(args, "crashes", c.Counters.Crashes)
	case level == slog.LevelWarn:
		args = append(args, "interruptions_without_checkpoint", c.Counters.InterruptStreak)
	}
	w.log.Log(w.last, level, what, args...)
}

// firstLine returns the first line of a text, for a log line.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
