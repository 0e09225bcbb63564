package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall"
)

// A handler that ignores the end of its context is unresponsive. Ten seconds after that end the
// worker says so (detector.go). In a stop the group abandons it, and it ends with its process. Its
// task is recorded just before, while that is still possible: otherwise it would be found as
// running where nothing runs. But it must not be claimed while the handler may still work. It
// becomes claimable when the stop is over at the latest: as long as handlers have for returning,
// the rest of a stop has for closing. Should the handler go on after that, its fence refuses what
// it does.
//
// Where the store cannot be reached the run stays the worker's, and the worker that finds its
// process gone takes the task over, as after SIGKILL.

// decisionMargin is how long before the group abandons the worker it is decided which handlers are
// unresponsive, at most: a store needs milliseconds to write it.
const decisionMargin = 100 * time.Millisecond

// recordUnresponsive waits for the time when handlers are given up, and records the runs of those
// that have not returned. Where all have returned, and it is the store that the worker waits for,
// it gives up the store, so that the worker says so itself instead of being abandoned. It does
// nothing when last ends before, which is the worker's end, or where the interrupt has no deadline.
func (w *Worker) recordUnresponsive(ctx, last context.Context, giveUpStore func()) {
	select {
	case <-ctx.Done():
	case <-last.Done():
		return
	}
	by, ok := errors.AsType[*lastcall.InterruptError](sound(context.Cause(ctx)))
	if !ok || by.Until.IsZero() {
		return
	}
	patience := max(0, time.Until(by.Until))
	margin := min(patience/8, decisionMargin)
	until := func(left, end time.Duration) (goesOn bool) {
		for ; left > end; left, _ = lastcall.TimeLeft(ctx) { // again, if the process was frozen meanwhile
			if !pause(last, left-end) {
				return false
			}
		}
		return true
	}
	if !until(patience, margin) {
		return
	}
	for _, r := range w.slots.begun(w.runs.all()) {
		var c Change
		if r.closeUnresponsive(&c, patience-margin, margin+patience) {
			w.recorder.add(r, &c)
		}
	}
	left, _ := lastcall.TimeLeft(ctx)
	if until(left, margin/2) && w.slots.running.Load() == 0 {
		w.storeGivenUp.Store(true)
		giveUpStore()
	}
}

// closeUnresponsive fills in the end of a run whose handler has not returned so long after the
// interrupt, and whose process may live for so long, and reports whether it did. It does not wait:
// a handler in the middle of Save or FinishTx is left alone, and so is one that has finished in a
// transaction, or has returned, or whose run is another worker's.
func (r *Run) closeUnresponsive(c *Change, silent, alive time.Duration) bool {
	if !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	r.recall()
	if r.inTx || isLoss(r.ctx.cause()) || r.decided.Swap(true) {
		return false
	}
	if c.Fence, c.Counters = r.fence(), r.task.Counters; r.inDoubt { // nobody can be asked now, and the task may well get on
		c.Counters.CrashStreak, c.Counters.InterruptStreak = 0, 0
	}
	c.unresponsive(r, silent)
	c.Delay = max(c.Delay, alive)
	c.Progress, c.Log = r.progress, r.log.take()
	return true
}

// maxUnresponsiveStops bounds how many interruptions in a row, without a new checkpoint, may end
// with an unresponsive handler: otherwise a task whose handler never returns would make every
// deploy last for its whole grace, for ever.
const maxUnresponsiveStops = 10

// unresponsive says what becomes of a task whose handler has not returned so long after the
// interrupt. One whose timeout was over before the interrupt is an attempt, as if it had returned.
func (c *Change) unresponsive(r *Run, silent time.Duration) {
	said := fmt.Sprintf("the handler is unresponsive: %v after the interrupt it had not returned", silent.Round(time.Millisecond))
	switch over := time.Since(r.started.Add(r.policy.timeout)); {
	case errors.Is(r.ctx.cause(), ErrCancelled):
		c.Status = StatusCancelled
	case r.policy.timeout > 0 && over > silent:
		c.Error = fmt.Sprintf("the handler is unresponsive: %v after its timeout of %v it had not returned", over.Round(time.Millisecond), r.policy.timeout)
		c.attempt(&r.task, r.policy)
		return
	default:
		c.interruption(&r.task, ReasonDeadline)
		if n := c.Counters.InterruptStreak; c.Status == StatusInterrupted && r.policy.capUnresponsive && n >= maxUnresponsiveStops {
			c.Status, c.Reason = StatusFailed, ""
			said += fmt.Sprintf("; this was interruption %d in a row without a new checkpoint: have the handler look at its context, or set MaxInterruptions of its kind", n)
		}
	}
	c.Error = cmp.Or(c.Error, said)
}
