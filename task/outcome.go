package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall"
)

// ending is what is known about a run when its handler has returned.
type ending struct {
	// err is what the handler returned, or a *PanicError.
	err error
	// cause is why the run's context had ended, nil if it had not.
	cause error
	// stopping: last call had been made.
	stopping bool
}

// decide says what becomes of a task whose handler has returned. In this order: a panic is an
// attempt; nil has succeeded; a permanent error has failed; a timeout is an attempt; after a stop
// began anything else is an interruption; and everything else is an attempt.
func decide(t Task, p policy, e ending) Change {
	c := Change{Fence: fenceOf(t), Counters: t.Counters}
	var interrupt *interruptedError
	if errors.As(e.err, &interrupt) {
		c.Checkpoint = interrupt.checkpoint
		c.Counters = progressed(c.Counters, t.Checkpoint, interrupt.checkpoint)
	}
	if e.err == nil {
		c.Status = Succeeded
		return c
	}
	c.Error = storable(e.err.Error(), maxErrorText)
	var panicked *PanicError
	var byInterrupt *lastcall.InterruptError
	switch {
	case errors.As(e.err, &panicked):
		return attempt(c, t, p)
	case IsPermanent(e.err):
		c.Status = Failed
		c.Counters.Attempts++
		return c
	case errors.Is(e.cause, ErrTimeout):
		return attempt(c, t, p)
	case e.stopping || errors.As(e.cause, &byInterrupt):
		c.Status, c.Reason = Interrupted, ReasonStop
		c.Counters.Interruptions++
		if errors.Is(e.err, ErrInterrupted) || errors.Is(e.err, context.Canceled) {
			c.Error = "" // it only says what the reason says
		}
		return c
	}
	return attempt(c, t, p)
}

// attempt counts a failed attempt: another try after the backoff, or the end.
func attempt(c Change, t Task, p policy) Change {
	c.Counters.Attempts++
	if t.MaxAttempts > 0 && c.Counters.Attempts >= t.MaxAttempts {
		c.Status = Failed
		return c
	}
	c.Status = Queued
	c.Delay = max(0, p.backoff(c.Counters.Attempts))
	return c
}

// decideReclaimed says what becomes of a task whose worker is gone. A death after last call is an
// interruption; so is a lease that ran out, since nobody knows whether the process died; only
// evidence of the process's death is a crash. The first crash costs no time, the next ones wait.
func decideReclaimed(t Task, r Reclaimed, worker string) Change {
	c := Change{Fence: fenceOf(t), Counters: t.Counters, Status: Interrupted, Taken: true}
	switch {
	case r.State != WorkerRunning:
		c.Reason = ReasonDeadline
		c.Counters.Interruptions++
		c.Error = "the process ended after last call, before the run was recorded: give it a longer grace, or the handler a shorter step"
	case !r.Evidence:
		c.Reason = ReasonLost
		c.Counters.Interruptions++
		c.Error = fmt.Sprintf("the lease of worker %s ran out", worker)
	default:
		c.Reason = ReasonLost
		c.Crashed = true
		c.Counters.Crashes++
		c.Counters.CrashStreak++
		c.Error = fmt.Sprintf("the process of worker %s died", worker)
		if t.MaxCrashes > 0 && c.Counters.CrashStreak >= t.MaxCrashes {
			c.Status, c.Reason = Failed, ""
			c.Error = fmt.Sprintf("%d crashes without a new checkpoint, the last one when %s", c.Counters.CrashStreak, c.Error)
		} else if n := c.Counters.CrashStreak; n > 1 {
			c.Delay = crashBackoff(n - 1)
		}
	}
	return c
}

var crashBackoff = doubling(500*time.Millisecond, 30*time.Second)

// progressed resets the crash streak when the new checkpoint differs from the old one.
func progressed(c Counters, old, new []byte) Counters {
	if new != nil && string(old) != string(new) {
		c.CrashStreak = 0
	}
	return c
}

func fenceOf(t Task) Fence { return Fence{Task: t.ID, Run: t.Run, Worker: t.Worker} }
