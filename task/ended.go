package task

import (
	"errors"
	"log/slog"
	"strings"
	"time"
)

// ended decides what becomes of a run whose handler has returned, and has it written.
func (w *Worker) ended(r *Run, end *ending) {
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
	r.close(end, &c)
	if c.Reason == ReasonRequested {
		w.claims.avoid(c.Task) // before it can be claimed again
	}
	w.recorder.add(r, &c)
}

// isLoss reports whether a context has ended because its run is another worker's.
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
				end.err = errors.New("the handler returned nil, but the transaction of its FinishTx was rolled back")
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

// written is told by the recorder whether a run's end was written.
func (w *Worker) written(r *Run, c *Change, err error) {
	switch {
	case err == nil && r.started.IsZero():
		w.log.Info("task given back, it had not begun", "task", c.Task, "kind", r.task.Kind, "run", c.Run, "is", c.Status)
	case err == nil:
		w.logEnd(&r.task, c)
		w.observer.tellEnd(r, Event{Status: c.Status, Reason: c.Reason, Err: c.Error, Waited: waited(&r.task)})
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrAlreadyFinished), errors.Is(err, ErrNotFound):
		w.lost(r, c, err)
	default:
		w.unrecordedEnd(r, c, err)
	}
}

// lost is the end of a run that is another worker's by now.
func (w *Worker) lost(r *Run, c *Change, err error) {
	t := &r.task
	w.log.Warn("task lost: what it did in the end came too late", "task", t.ID, "kind", t.Kind, "run", t.Run, "status", c.Status, "error", err)
	w.observer.tellEnd(r, Event{Status: c.Status, Reason: c.Reason, Err: c.Error, Stale: true})
}

// unrecordedEnd is an end that could not be written before the worker's time was up.
func (w *Worker) unrecordedEnd(r *Run, c *Change, err error) {
	w.log.Error("outcome not recorded", "task", r.task.ID, "kind", r.task.Kind, "run", r.task.Run, "status", c.Status, "error", err)
	w.unrecorded.Add(1)
}

// forget is for runs of which nothing is left to do.
func (w *Worker) forget(runs ...*Run) {
	w.runs.remove(runs...)
	if w.slots.forget(runs) {
		w.claims.nudge()
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

// firstLine is a text for a log line.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
