package checker

import (
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// fate is what is known of an enqueue.
type fate int

const (
	never    fate = iota // it was certainly not executed
	possible             // it may have been executed
	accepted             // it was executed
)

func (a add) plan() history.Plan { return a.asked.Call.Plans[a.place] }

// holder returns the id of the other task that an enqueue was answered with.
func (a add) holder() (id string, ok bool) {
	if a.answered == nil || a.answered.Answer.Outcome != history.Done {
		return "", false
	}
	answer := a.answered.Answer
	if a.place >= len(answer.Existed) || !answer.Existed[a.place] || a.place >= len(answer.IDs) {
		return "", false
	}
	id = answer.IDs[a.place]
	return id, !strings.EqualFold(id, a.plan().ID)
}

func (a add) fate() fate {
	if a.asked.Call.Op == history.EnqueueTx && !a.asked.Call.Commit {
		return never
	}
	if a.answered == nil {
		return possible
	}
	switch a.answered.Answer.Outcome {
	case history.Refused:
		return never
	case history.Done:
		if _, existed := a.holder(); existed {
			return never
		}
		return accepted
	}
	return possible
}

// fate returns the most certain fate of a task's enqueues.
func (t *task) fate() fate {
	best := never
	for _, a := range t.adds {
		best = max(best, a.fate())
	}
	return best
}

// acceptedBy returns the first enqueue that was certainly executed, or nil.
func (t *task) acceptedBy() *add {
	for i := range t.adds {
		if t.adds[i].fate() == accepted {
			return &t.adds[i]
		}
	}
	return nil
}

// may returns the commands of that kind that were executed, or may have been.
func (t *task) may(op history.Op) (done []control) {
	for _, c := range t.controls {
		if c.op() == op && !c.is(history.Refused) {
			done = append(done, c)
		}
	}
	return done
}

func (c control) is(o history.Outcome) bool {
	return c.answered != nil && c.answered.Answer.Outcome == o
}

// known reports whether the answer arrived. If not, nobody knows when the command was executed, and
// whether it was. The answer to a command for a whole queue does not say which tasks it has
// reached.
func (c control) known() bool { return c.is(history.Done) && !c.all }

// op returns what the command does to a task.
func (c control) op() history.Op {
	switch op := c.asked.Call.Op; op {
	case history.CancelAll:
		return history.Cancel
	case history.RetryAll:
		return history.Retry
	case history.DeleteAll:
		return history.Delete
	default:
		return op
	}
}

// accepted returns the effects that were not refused.
func (t *task) accepted() []effect {
	return slices.DeleteFunc(slices.Clone(t.effects), func(e effect) bool { return e.Stale })
}

// done returns how many steps the effects contain, from the first one on without a gap.
func done(effects []effect) int {
	steps := make(map[int]bool)
	for _, e := range effects {
		steps[e.Step] = true
	}
	n := 0
	for steps[n] {
		n++
	}
	return n
}

// runs returns a task's runs by number.
func runs(r history.Task) map[int64]history.Run {
	all := make(map[int64]history.Run, len(r.Runs))
	for _, run := range r.Runs {
		all[run.Run] = run
	}
	return all
}

// forgotten reports whether a run may have been dropped from a history that is full.
func forgotten(r history.Task, run int64) bool {
	return len(r.Runs) >= keptRuns && run < r.Runs[0].Run
}

// lossy reports whether what was answered at that time may be lost.
func (f *facts) lossy(at time.Time) bool {
	return slices.ContainsFunc(f.losses, func(s span) bool { return s.has(at) })
}

// lostBetween reports whether something that was answered may have been lost within a time range.
func (f *facts) lostBetween(from, to time.Time) bool {
	return slices.ContainsFunc(f.losses, func(s span) bool { return s.meets(from, to) })
}

// touched reports whether something was done with a task at a time of which answers may be lost.
func (f *facts) touched(t *task) bool {
	for _, a := range t.adds {
		if f.lossy(a.asked.At) || a.answered != nil && f.lossy(a.answered.At) {
			return true
		}
	}
	for _, c := range t.controls {
		if f.lossy(c.asked.At) || c.answered != nil && f.lossy(c.answered.At) {
			return true
		}
	}
	return slices.ContainsFunc(t.effects, func(e effect) bool { return f.lossy(e.at.At) })
}

// of returns the process that had a run, or nil if that is not known.
func (f *facts) of(t *task, r history.Run) *process {
	for _, e := range t.effects {
		if e.Fence == r.Run && f.byName[e.Process].pid == r.PID {
			return f.byName[e.Process]
		}
	}
	var latest *process
	for _, p := range f.byPID[r.PID] {
		if latest == nil || f.clocks || p.started == nil || !p.started.At.After(r.Started.Add(f.margin)) {
			latest = p
		}
	}
	return latest
}

// when converts a time of the store to the harness's clock. If a fault has moved the store's clock,
// the time is unknown, and when returns the end.
func (f *facts) when(at time.Time) time.Time {
	if f.clocks || at.IsZero() {
		return f.end
	}
	return at
}

// dead reports whether a process had ended by then.
func (f *facts) dead(p *process, at time.Time) bool {
	return p.ended != nil && !p.ended.At.After(at.Add(f.margin))
}

// away reports whether a process had been stopped or cut off for a lease by then. Adjacent times
// are counted together.
func (f *facts) away(p *process, at time.Time) bool {
	spans := slices.Clone(p.stops)
	for _, x := range f.faults {
		if x.Cut && (len(x.Victims) == 0 || slices.Contains(x.Victims, p.name)) {
			spans = append(spans, x.span)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	latest := at.Add(f.margin)
	var now span
	for i, s := range spans {
		if i > 0 && !s.from.After(now.to.Add(f.margin)) {
			if s.to.After(now.to) {
				now.to = s.to
			}
		} else {
			now = s
		}
		until := now.to
		if until.After(latest) {
			until = latest
		}
		if until.Sub(now.from) >= f.lease-f.margin {
			return true
		}
	}
	return false
}

// killed reports whether a process ended in any other way than by returning from main without an
// error.
func (p *process) killed() bool {
	return p.ended != nil && (p.ended.Process.By != "" || p.ended.Process.Code != 0)
}
