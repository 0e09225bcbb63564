package task

import (
	"cmp"
	"fmt"
	"time"
)

// A process that ends after its last call, before it could record its runs, has had too little
// time: as a rule because somebody gave it too little. But a task may be the reason why its process
// is told to stop and is killed at once. One that fills the disk of its pod gets that evicted, and
// with it all its neighbours, and the next pod after it. Who looks on sees the same in both cases,
// so the answer has to be good for both: nobody is charged with a crash, and a task to which it
// happens again and again becomes a suspect. The suspects then run apart, in groups that each
// further such end halves, until the one that is the reason is alone and waits for minutes; at the
// tenth it has failed. For a task that is innocent this costs little: it gets on between two
// deploys, and is cleared by that.

// maxEvictions is how many interruptions in a row, the last two by such an end, make a suspect, and
// streakOfSuspects the least streak of crashes that a suspect has, as by two crashes.
const (
	maxEvictions     = 3
	streakOfSuspects = 2
)

// evictionBackoff is for the one suspect of a process that ended so once more.
var evictionBackoff = doubling(10*time.Second, 10*time.Minute)

// evicted says what becomes of a task whose process ended after last call, before the run was
// recorded.
func (c *Change) evicted(t *Task, r *ReclaimReply, worker string) {
	const why = "the process ended after last call, before the run was recorded"
	if t.Suspect() && r.Suspects > 1 { // nobody is charged, as when they die of a crash
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
