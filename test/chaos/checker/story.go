package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// Story returns everything about one task, in order: what was requested, what its runs did, what
// happened to the processes that had it, and what the store has of it.
func Story(h history.History, seq int) string {
	f := read(h)
	t, ok := f.bySeq[seq]
	if !ok {
		return fmt.Sprintf("task %d is not in the history\n", seq)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "task %d: %+v\n", seq, t.plan)
	var zero time.Time
	if len(h.Events) > 0 {
		zero = h.Events[0].At
	}
	for _, e := range f.events(h, t) {
		fmt.Fprintf(&b, "%10.3fs  %s\n", e.At.Sub(zero).Seconds(), tell(e, seq))
	}
	for _, r := range t.records {
		fmt.Fprintf(&b, "the store has %s, of kind %s in queue %q with key %q: %s %s, "+
			"%d attempts, %d interruptions, %d crashes, a result of %d bytes %s\n",
			r.ID, r.Kind, r.Queue, r.Key, r.Status, r.Reason,
			r.Attempts, r.Interruptions, r.Crashes, r.Result, r.Error)
		for _, run := range r.Runs {
			fmt.Fprintf(&b, "  run %d of process %d, %.3fs to %.3fs: %s %s crashed=%t reclaimed=%t %s\n",
				run.Run, run.PID, run.Started.Sub(zero).Seconds(), run.Ended.Sub(zero).Seconds(),
				run.Status, run.Reason, run.Crashed, run.Reclaimed, run.Error)
		}
	}
	if len(t.records) == 0 {
		b.WriteString("the store does not have it\n")
	}
	for _, x := range t.tx {
		fmt.Fprintf(&b, "in the transaction: step %d by run %d\n", x.Step, x.Fence)
	}
	return b.String()
}

// events returns the events of a history that concern a task, in order: its own, the faults during
// its life, and what happened to the processes that had it.
func (f *facts) events(h history.History, t *task) (events []*history.Event) {
	own := make(map[*history.Event]bool)
	for _, a := range t.adds {
		own[a.asked], own[a.answered] = true, true
	}
	if t.made != nil {
		own[t.made.made] = true
	}
	for _, c := range t.controls {
		own[c.asked], own[c.answered] = true, true
	}
	had := make(map[string]bool)
	for _, e := range t.effects {
		own[e.at], had[e.Process] = true, true
	}
	for _, r := range t.records {
		for _, run := range r.Runs {
			if p := f.of(t, run); p != nil {
				had[p.name] = true
			}
		}
	}
	delete(own, nil)
	var first, last int64
	for e := range own {
		if first == 0 || e.N < first {
			first = e.N
		}
		last = max(last, e.N)
	}
	for i := range h.Events {
		e := &h.Events[i]
		theirs := e.Process != nil && had[e.Process.Name]
		if e.Fault != nil {
			hit := func(victim string) bool { return had[victim] }
			theirs = len(e.Fault.Victims) == 0 || slices.ContainsFunc(e.Fault.Victims, hit)
		}
		if own[e] || theirs && e.N >= first && e.N <= last {
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b *history.Event) int { return cmp.Compare(a.N, b.N) })
	return events
}

// tell formats an event as one line.
func tell(e *history.Event, seq int) string {
	switch {
	case e.Process != nil:
		p := e.Process
		return strings.TrimSpace(fmt.Sprintf("%s (process %d) %s %s", p.Name, p.PID, p.What, details(p)))
	case e.Fault != nil:
		edge := "begins"
		if e.Fault.Over {
			edge = "is over"
		}
		return strings.TrimSpace(fmt.Sprintf("fault %d, %s, %s %v %s%s",
			e.Fault.ID, e.Fault.Kind, edge, e.Fault.Victims, e.Fault.Detail, e.Fault.Skipped))
	case e.Call != nil:
		c := e.Call
		commit := ""
		if c.Op == history.EnqueueTx {
			commit = fmt.Sprintf(", to be committed: %t", c.Commit)
		}
		return fmt.Sprintf("call %d by %s: %s%s", c.ID, c.Process, c.Op, commit)
	case e.Answer != nil:
		return fmt.Sprintf("call %d is answered: %s %v existed=%v %s%s",
			e.Answer.Call, e.Answer.Outcome, e.Answer.IDs, e.Answer.Existed, e.Answer.Error, spared(e.Answer))
	case e.Effect != nil:
		return tellEffect(e.Effect)
	case e.Schedule != nil:
		return fmt.Sprintf("schedule %s, every %v", e.Schedule.Name, e.Schedule.Every)
	}
	return fmt.Sprintf("event %d of task %d", e.N, seq)
}

// spared names the tasks that a command has not reached.
func spared(a *history.Answer) string {
	if len(a.Spared) == 0 {
		return ""
	}
	return fmt.Sprintf("not reached: %v", a.Spared)
}

func tellEffect(x *history.Effect) string {
	what := fmt.Sprintf("step %d", x.Step)
	switch x.Step {
	case history.Begun:
		what = fmt.Sprintf("begins at step %d", x.Resumed)
	case history.Finished:
		what = "returns"
	case history.HandedOver:
		what = fmt.Sprintf("hands over at step %d", x.Resumed)
	case history.Returned:
		what = fmt.Sprintf("has the result of step %d, by run %d", x.Resumed, x.Result)
	}
	if x.Stale {
		what += ", refused"
	}
	return fmt.Sprintf("run %d by %s (process %d): %s", x.Fence, x.Process, x.PID, what)
}

// details formats the details of an event of a process.
func details(p *history.Process) string {
	switch p.What {
	case history.Signalled:
		return fmt.Sprintf("%s, grace %v", p.Signal, p.Grace)
	case history.Ended:
		return strings.TrimSpace(fmt.Sprintf("code %d %s %s", p.Code, p.By, p.Left))
	}
	return p.Left
}
