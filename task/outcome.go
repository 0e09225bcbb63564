package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
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
	// lack is what the worker lacks, if the error names it.
	lack *lack
}

// decide fills in the outcome for a task whose handler has returned. The first case that applies
// counts:
//
//  1. A panic is an attempt.
//  2. Nil: the task has succeeded.
//  3. A permanent error: the task has failed.
//  4. A cancelled task is cancelled.
//  5. A snooze: the task waits.
//  6. The worker lacks something: the task is released.
//  7. A timeout is an attempt.
//  8. A run that makes room for others: the task is queued behind them.
//  9. After a stop began, or when an interruption was requested, anything else is an interruption.
//  10. An error made by Crashed is a crash.
//  11. Everything else is an attempt.
//
// The methods of the error are the handler's own code, and so is its kind's Backoff. If one of them
// panics, as the Error of a nil pointer does, that counts as the handler's panic.
//
// The change is filled in place: a hundred thousand handlers that return at once would have their
// stacks grow by copies of it.
func (c *Change) decide(t *Task, p *policy, e *ending) {
	c.Fence, c.Counters = fenceOf(t), t.Counters
	if e.err == nil {
		c.Status = StatusSucceeded
		return
	}
	if bad := c.judge(t, p, e); bad != nil {
		*c = Change{Fence: c.Fence, Counters: t.Counters, Error: storable(bad.Error(), maxErrorText)}
		c.attempt(t, p)
	}
}

// judge is decide for an error, and returns the panic of the error's methods.
func (c *Change) judge(t *Task, p *policy, e *ending) (bad *PanicError) {
	defer recovered(&bad)
	if interrupt, ok := errors.AsType[*interruptedError](e.err); ok {
		c.Checkpoint = interrupt.checkpoint
		c.Counters = progressed(c.Counters, t.Checkpoint, interrupt.checkpoint)
	}
	c.Error = storable(e.err.Error(), maxErrorText)
	snoozed, _ := errors.AsType[*snoozeError](e.err)
	switch {
	case is[*PanicError](e.err):
		c.attempt(t, p)
	case IsPermanent(e.err):
		c.Status = StatusFailed
		c.Counters.Attempts++
	case errors.Is(e.cause, ErrCancelled):
		c.Status = StatusCancelled
		c.quiet(e)
	case snoozed != nil:
		c.Status, c.Error, c.Delay = StatusQueued, "", snoozed.wait
	case e.lack != nil:
		c.Status, c.Reason = StatusInterrupted, ReasonReleased
	case errors.Is(e.cause, ErrTimeout):
		if !errors.Is(e.err, ErrTimeout) {
			c.Error = storable(fmt.Sprintf("%v (%v): %s", ErrTimeout, p.timeout, c.Error), maxErrorText)
		}
		c.attempt(t, p)
	case errors.Is(e.cause, ErrTurn):
		if c.quiet(e); errors.Is(e.err, ErrTurn) {
			c.Error = ""
		}
		c.Status, c.Reason = StatusQueued, ReasonTurn
		c.Counters.Interruptions++
	case errors.Is(e.cause, ErrInterruptRequested):
		c.quiet(e)
		c.interruption(t, ReasonRequested)
	case errors.Is(e.cause, errFrozen):
		c.quiet(e)
		c.interruption(t, ReasonFrozen)
	case errors.Is(e.cause, ErrDisconnected):
		c.quiet(e)
		c.interruption(t, ReasonLost)
	case e.stopping || is[*lastcall.InterruptError](e.cause):
		c.quiet(e)
		c.interruption(t, ReasonStop)
	case is[*crashError](e.err):
		c.crash(t, suspicionOf(t.ID, strconv.FormatInt(t.Run, 10)))
	default:
		c.attempt(t, p)
		if c.Status == StatusQueued && (errors.Is(e.err, ErrPayload) || errors.Is(e.err, ErrSteps)) {
			c.Delay = max(c.Delay, payloadBackoff(c.Counters.Attempts))
		}
	}
	return nil
}

// recovered is deferred by functions that call the user's code, and keeps its panic.
func recovered(bad **PanicError) {
	if v := recover(); v != nil {
		*bad = &PanicError{Value: v, Stack: string(debug.Stack())}
	}
}

// sound returns why a context has ended, or the panic of that error: it may be an error of the
// user, whose code has ended the worker's context.
func sound(cause error) error {
	if cause == nil {
		return nil
	}
	var bad *PanicError
	func() {
		defer recovered(&bad)
		_ = is[*PanicError](cause) || errors.Is(cause, ErrLeaseLost)
	}()
	if bad != nil {
		return bad
	}
	return cause
}

// is reports whether an error is of a type, or wraps one that is.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// quiet removes an error that only repeats the reason.
func (c *Change) quiet(e *ending) {
	if errors.Is(e.err, ErrInterrupted) || errors.Is(e.err, context.Canceled) {
		c.Error = ""
	}
}

// interruption counts an interruption. The first since the last new checkpoint costs no time, and
// each further one waits twice as long as the one before: a task that is interrupted again and
// again without progress must not keep its workers busy.
func (c *Change) interruption(t *Task, why Reason) {
	c.Status, c.Reason = StatusInterrupted, why
	c.Counters.Interruptions++
	c.Counters.InterruptStreak++
	n := c.Counters.InterruptStreak
	if t.MaxInterruptions > 0 && n >= t.MaxInterruptions {
		c.Status, c.Reason = StatusFailed, ""
		c.Error = fmt.Sprintf("interrupted %d times without a new checkpoint, the last time by %s", n, why)
	} else if n > 1 {
		c.Delay = interruptBackoff(n)
	}
}

var (
	defaultBackoff = jittered(doubling(time.Second, 5*time.Minute))
	// payloadBackoff is for a payload, or steps, that another version of the program may be able to
	// read.
	payloadBackoff   = doubling(time.Minute, 8*time.Minute)
	interruptBackoff = doubling(100*time.Millisecond, 30*time.Second)
	crashBackoff     = doubling(500*time.Millisecond, 30*time.Second)
)

// attempt counts a failed attempt: the task waits for the backoff, or has failed.
func (c *Change) attempt(t *Task, p *policy) {
	c.Counters.Attempts++
	if t.MaxAttempts > 0 && c.Counters.Attempts >= t.MaxAttempts {
		c.Status = StatusFailed
		return
	}
	c.Status = StatusQueued
	delay, bad := p.wait(c.Counters.Attempts)
	if c.Delay = max(0, delay); bad != nil {
		c.Error = storable(fmt.Sprintf("%s\nand the Backoff of its kind: %v", c.Error, bad), maxErrorText)
	}
}

// wait returns how long a task waits after its nth failed attempt: the result of its kind's
// Backoff, or the default when that panics.
func (p *policy) wait(n int) (d time.Duration, bad *PanicError) {
	defer func() {
		if bad != nil {
			d = defaultBackoff(n)
		}
	}()
	defer recovered(&bad)
	return p.backoff(n), nil
}

// reclaim fills in the outcome for a task whose worker is gone. A death after last call is an
// interruption. So is a lease that ran out, since it is not known whether the process died. Only
// evidence of the process's death makes it a crash. If there were suspects among the worker's
// tasks, the other tasks are not charged, and several suspects only go on in smaller groups: a
// suspect is charged only if it was alone.
func (c *Change) reclaim(t *Task, r *ReclaimReply, worker string) {
	c.Fence, c.Counters, c.Reclaimed = fenceOf(t), t.Counters, true
	switch {
	case r.State != WorkerRunning:
		c.evicted(t, r, worker)
	case !r.Evidence:
		c.interruption(t, ReasonLost)
		c.Error = cmp.Or(c.Error, fmt.Sprintf("the lease of worker %s ran out", worker))
	case r.Suspects > 0 && !t.Suspect():
		c.interruption(t, ReasonLost)
		c.Error = cmp.Or(c.Error, fmt.Sprintf("the process of worker %s died while another task was under suspicion", worker))
	case r.Suspects > 1:
		// No limit counts this, so it costs no time either.
		c.Status, c.Reason = StatusInterrupted, ReasonLost
		c.Counters.Interruptions++
		c.Error = fmt.Sprintf("the process of worker %s died with %d suspects: none is charged, they go on in two groups", worker, r.Suspects)
		c.Counters.Suspicion = r.groupOf(t.ID, worker)
	default:
		c.Error = fmt.Sprintf("the process of worker %s died", worker)
		c.crash(t, r.groupOf(t.ID, worker))
	}
}

// crash counts a crash, which c.Error describes. The first since the last new checkpoint costs no
// time. Further ones wait, and make the task a suspect of a group.
func (c *Change) crash(t *Task, group Suspicion) {
	c.Status, c.Reason, c.Crashed = StatusInterrupted, ReasonLost, true
	c.Counters.Crashes++
	c.Counters.CrashStreak++
	n := c.Counters.CrashStreak
	if t.MaxCrashes > 0 && n >= t.MaxCrashes {
		c.Status, c.Reason = StatusFailed, ""
		c.Error = storable(fmt.Sprintf("%d crashes without a new checkpoint, the last one: %s", n, c.Error), maxErrorText)
	} else if n > 1 {
		c.Delay, c.Counters.Suspicion = crashBackoff(n-1), group
	}
}

// progressed ends the streaks when the new checkpoint differs from the old one.
func progressed(c Counters, old, new []byte) Counters {
	if new != nil && string(old) != string(new) {
		return afresh(c)
	}
	return c
}

// afresh ends the streaks.
func afresh(c Counters) Counters {
	c.CrashStreak, c.InterruptStreak, c.Suspicion = 0, 0, 0
	return c
}

func fenceOf(t *Task) Fence { return Fence{Task: t.ID, Run: t.Run, Worker: t.Worker} }
