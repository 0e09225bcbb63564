package task

import (
	"cmp"
	"fmt"
	"time"
)

// A process that ends after its last call, before it could record its runs, has had too little
// time: as a rule because its grace period is too short. But a task may be the reason why its
// process is stopped and then killed at once. A task that fills the disk of its pod gets the pod
// evicted, with all other tasks in it, and then the next pod.
//
// Another worker sees the same in both cases, so the answer has to be good for both. No task is
// charged with a crash, and a task to which this happens again and again becomes a suspect.
// Suspects then run apart, in groups. Each further such end halves the groups, until the task that
// is the reason is alone and waits for minutes; at the tenth it has failed. For an innocent task
// this costs little: it gets on between two deploys, and is cleared by that.

// maxEvictions is how many interruptions in a row, the last two by such an end, make a suspect.
// streakOfSuspects is the least streak of crashes that a suspect has, as after two crashes.
const (
	maxEvictions     = 3
	streakOfSuspects = 2
)

// evictionBackoff is for the one suspect of a process that has ended so again.
var evictionBackoff = doubling(10*time.Second, 10*time.Minute)

// evicted decides the outcome for a task whose process ended after last call, before the run was
// recorded.
func (c *Change) evicted(t *Task, r *ReclaimReply, worker string) {
	const why = "the process ended after last call, before the run was recorded"
	if t.Suspect() && r.Suspects > 1 { // no task is charged, as after a crash
		c.Status, c.Reason = StatusInterrupted, ReasonDeadline
		c.Counters.Interruptions++
		c.Error = fmt.Sprintf("%s, with %d suspects: none is charged, they go on in two groups", why, r.Suspects)
		c.Counters.Suspicion = r.groupOf(t.ID, worker)
		return
	}
	c.interruption(t, ReasonDeadline)
	n := c.Counters.InterruptStreak
	switch {
	case c.Status != StatusInterrupted: // at the limit of its kind
	case t.Suspect() && t.MaxInterruptions == 0 && n >= maxUnresponsiveStops:
		c.Status, c.Reason = StatusFailed, ""
		c.Error = fmt.Sprintf("%s, interruption %d in a row without a new checkpoint, and this task was its one suspect: "+
			"have it need less, or save checkpoints, or set MaxInterruptions of its kind", why, n)
	case t.Suspect():
		c.Delay = max(c.Delay, evictionBackoff(max(1, n-maxEvictions)))
	case r.Suspects == 0 && n >= maxEvictions && t.Reason == ReasonDeadline:
		c.Counters.CrashStreak = max(c.Counters.CrashStreak, streakOfSuspects)
		c.Counters.Suspicion = r.groupOf(t.ID, worker)
	}
	c.Error = cmp.Or(c.Error, why+": give it a longer grace, or the handler a shorter step")
}
