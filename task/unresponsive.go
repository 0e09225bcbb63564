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
// worker reports it (detector.go). In a stop the group abandons it, and it ends with its process.
// The worker records its task just before that, while it still can: otherwise the task would be
// found as running although nothing runs. But the task must not be claimed while the handler may
// still work. It becomes claimable when the stop is over at the latest: the rest of a stop has as
// long for closing as handlers have for returning. If the handler goes on after that, its fence
// refuses its writes.
//
// If the store cannot be reached the run stays the worker's, and the worker that finds its process
// gone takes over the task, as after SIGKILL.

// decisionMargin is how long, at most, before the group abandons the worker it is decided which
// handlers are unresponsive. A store needs milliseconds to write that; but a container that has
// used up its processor time stands still for up to 100 ms.
const decisionMargin = 250 * time.Millisecond

// recordUnresponsive waits for the time when handlers are given up, and records the runs of those
// that have not returned. If all have returned half a margin later, and the worker waits for the
// store, it gives up the store, so that the worker returns an error instead of being abandoned. It
// does nothing if last, the worker's end, ends before, or if the interrupt has no deadline.
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
	margin := min(patience/4, decisionMargin)
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

// closeUnresponsive fills in the end of a run whose handler has not returned for silent after the
// interrupt, and whose process may live for alive, and reports whether it did. It does not wait. It
// skips a handler in the middle of Save or FinishTx, one that has finished in a transaction, one
// that has returned, and one whose run belongs to another worker.
func (r *Run) closeUnresponsive(c *Change, silent, alive time.Duration) bool {
	if !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	r.recall()
	if r.inTx || isLoss(r.ctx.cause()) || r.decided.Swap(true) {
		return false
	}
	// The store cannot be asked now, and the task may have made progress.
	if c.Fence, c.Counters = r.fence(), r.task.Counters; r.inDoubt {
		c.Counters.CrashStreak, c.Counters.InterruptStreak = 0, 0
	}
	c.unresponsive(r, silent)
	c.Delay = max(c.Delay, alive)
	c.Progress, c.Log = r.progress, r.log.take()
	return true
}

// maxUnresponsiveStops bounds how many interruptions in a row, without a new checkpoint, may end
// with an unresponsive handler: otherwise a task whose handler never returns would make every
// deploy take its whole grace period, for ever.
const maxUnresponsiveStops = 10

// unresponsive fills in the outcome for a task whose handler has not returned for silent after the
// interrupt. If its timeout was over before the interrupt this is an attempt, as if it had
// returned.
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
