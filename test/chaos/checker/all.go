package checker

import (
	"slices"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// spread gives each task the commands for all tasks of its queue that may have reached it.
func (f *facts) spread() {
	for _, t := range f.bySeq {
		for _, c := range f.all {
			if len(t.adds) > 0 && t.plan.Queue == c.asked.Call.Queue && (c.answered == nil || t.adds[0].asked.N < c.answered.N) {
				t.controls = append(t.controls, *c)
			}
		}
	}
}

// checkAll checks the rule "all". What such a command is for is certain only of tasks that were
// accepted before it, and that have not changed meanwhile.
func checkAll(f *facts, breach breach) {
	if f.clocks {
		return
	}
	for _, t := range f.tasks {
		for _, c := range t.controls {
			if !c.all || !c.is(history.Done) || f.touched(t) || !t.acceptedBefore(c.asked) {
				continue
			}
			for _, r := range t.records {
				if !slices.Contains(c.answered.Answer.Spared, r.ID) {
					f.checkReached(t, r, c, func(format string, args ...any) { breach(t.seq, format, args...) })
				}
			}
		}
	}
}

// acceptedBefore reports whether a task had certainly been accepted before an event.
func (t *task) acceptedBefore(e *history.Event) bool {
	a := t.acceptedBy()
	return a != nil && a.answered.N < e.N
}

// checkReached checks that a command has reached a task.
func (f *facts) checkReached(t *task, r history.Task, c control, say say) {
	call := c.asked.Call
	// It had ended as it is now.
	before := !r.Ended.IsZero() && r.Ended.Add(f.margin).Before(c.asked.At)
	switch {
	case call.Op == history.CancelAll:
		again := slices.ContainsFunc(t.may(history.Retry), func(r control) bool { return r.answered == nil || r.answered.N > c.asked.N })
		if n := len(r.Runs); n > 0 && r.Runs[n-1].Started.After(c.answered.At) && !again {
			say("run %d began after all tasks of %s were cancelled (call %d)", r.Runs[n-1].Run, call.Queue, call.ID)
		}
	case call.Op == history.RetryAll && before && (r.Status == failed || r.Status == cancelled) && (r.Pruned.IsZero() || r.Pruned.After(c.answered.At)):
		say("it is %s, and was not begun again with the others of %s (call %d)", r.Status, call.Queue, call.ID)
	case call.Op == history.DeleteAll && before && (r.Pruned.IsZero() || r.Pruned.After(c.answered.At)):
		say("it had ended, and was not deleted with the others of %s (call %d)", call.Queue, call.ID)
	}
}
