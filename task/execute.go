package task

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/lastcall-go/lastcall"
)

// start runs a claimed task in a goroutine of its own.
func (w *Worker) start(ctx, last context.Context, lastCall <-chan struct{}, t Task) {
	e, ok := w.mux.lookup(t.Kind)
	if !ok { // a store that hands out what was not asked for
		w.log.Error("store handed out a task of an unknown kind", "task", t.ID, "kind", t.Kind)
		return
	}
	hctx, cancel := context.WithCancelCause(ctx)
	r := &Run{store: w.store, policy: e.policy, cancel: cancel, stopping: lastCall, task: t}
	w.mu.Lock()
	w.running[fenceOf(t)] = r
	w.busy[t.Kind]++
	w.mu.Unlock()
	w.log.Info("task running", "task", t.ID, "kind", t.Kind, "run", t.Run, "runs", t.Runs,
		"was", before(t), "worker", t.Worker)
	w.handlers.Go(func() {
		defer cancel(nil)
		end := w.execute(hctx, lastCall, e, r)
		w.record(last, e.policy, r, end)
		w.mu.Lock()
		delete(w.running, fenceOf(t))
		w.busy[t.Kind]--
		w.mu.Unlock()
		w.nudge()
	})
}

// before says, for the log, what a claimed task was.
func before(t Task) Status {
	if t.Reason != "" {
		return Interrupted
	}
	return Queued
}

// execute calls the handler under its timeout, and with its context ended at last call where its
// kind says so.
func (w *Worker) execute(ctx context.Context, lastCall <-chan struct{}, e entry, r *Run) ending {
	if e.policy.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, e.policy.timeout, ErrTimeout)
		defer cancel()
	}
	if e.policy.onStop == Interrupt {
		done := make(chan struct{})
		defer close(done)
		go func() {
			select {
			case <-lastCall:
				left, _ := lastcall.TimeLeft(ctx)
				r.cancel(&lastcall.InterruptError{Until: time.Now().Add(left)})
			case <-done:
			}
		}()
	}
	err := call(ctx, e, r)
	return ending{err: err, cause: context.Cause(ctx), stopping: closed(lastCall)}
}

// call turns a panic, and a Goexit, into an error.
func call(ctx context.Context, e entry, r *Run) (err error) {
	returned := make(chan error, 1)
	go func() {
		err := error(&PanicError{Value: "the handler called runtime.Goexit"})
		defer func() {
			if v := recover(); v != nil {
				err = &PanicError{Value: v, Stack: string(debug.Stack())}
			}
			returned <- err
		}()
		err = e.handle(ctx, r)
	}()
	return <-returned
}

// record writes a run's end, trying again until it is written, the run turns out to be somebody
// else's, or the group's time is up.
func (w *Worker) record(last context.Context, p policy, r *Run, end ending) {
	t, progress := r.end()
	if errors.Is(end.cause, ErrLeaseLost) || errors.Is(end.cause, ErrWorkerGone) {
		w.log.Warn("task lost", "task", t.ID, "kind", t.Kind, "run", t.Run, "error", ErrLeaseLost)
		return
	}
	c := decide(t, p, end)
	c.Progress = progress
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := w.recorder.apply(last, c)
		switch {
		case err == nil:
			w.logEnd(t, c)
			return
		case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrAlreadyFinished), errors.Is(err, ErrNotFound):
			w.log.Warn("outcome came too late", "task", t.ID, "kind", t.Kind, "run", t.Run, "status", c.Status, "error", err)
			return
		case last.Err() != nil:
			w.log.Error("outcome not recorded", "task", t.ID, "kind", t.Kind, "run", t.Run, "status", c.Status, "error", err)
			w.mu.Lock()
			w.unrecorded++
			w.mu.Unlock()
			return
		}
		w.log.Warn("outcome not recorded yet; trying again", "task", t.ID, "run", t.Run, "error", err)
		select {
		case <-last.Done():
		case <-time.After(wait):
		}
	}
}

// logEnd writes the line of a status change.
func (w *Worker) logEnd(t Task, c Change) {
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
	switch c.Status {
	case Failed:
		w.log.Error("task failed", args...)
	case Queued:
		w.log.Warn("task queued again", append(args, "attempts", c.Counters.Attempts)...)
	default:
		w.log.Info("task "+string(c.Status), args...)
	}
}
