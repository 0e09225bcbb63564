package checker

import (
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkStale checks the rule "stale".
func checkStale(f *facts, breach breach) {
	for _, t := range f.tasks {
		var newest int64
		told := make(map[int64]bool) // report each run once
		for _, e := range t.accepted() {
			if e.Fence < newest && !told[e.Fence] {
				told[e.Fence] = true
				breach(t.seq, "step %d of run %d by %s was accepted after run %d had begun", e.Step, e.Fence, e.Process, newest)
			}
			newest = max(newest, e.Fence)
		}
		for _, r := range t.records {
			known := runs(r)
			clear(told)
			for _, e := range t.accepted() {
				if wrong := f.foreign(e, r, known); wrong != "" && !told[e.Fence] && !f.lossy(e.at.At) {
					told[e.Fence] = true
					breach(t.seq, "step %d of run %d by %s was accepted, and %s", e.Step, e.Fence, e.Process, wrong)
				}
			}
		}
	}
}

// foreign returns why an effect belongs to no run in a task's history.
func (f *facts) foreign(e effect, r history.Task, known map[int64]history.Run) string {
	run, ok := known[e.Fence]
	switch {
	case !ok && forgotten(r, e.Fence):
		return ""
	case !ok:
		return "its history has no such run"
	case e.TaskID != "" && !strings.EqualFold(e.TaskID, r.ID):
		return "it calls the task " + e.TaskID
	case run.PID != 0 && f.byName[e.Process].pid != run.PID:
		return "the history has that run in another process"
	case run.PID != 0 && r.Kind != history.KindProgram && e.PID != run.PID:
		return "it came from another process than its worker's"
	}
	return ""
}

// checkOverlap checks the rule "overlap". An older run that is still active is detected by what it
// tries to write: the harness records the effects that it refuses. The store's own times are
// compared as well.
func checkOverlap(f *facts, breach breach) {
	for _, t := range f.tasks {
		f.overlapOfEffects(t, breach)
		for _, r := range t.records {
			for i := 1; i < len(r.Runs) && !f.clocks; i++ {
				a, b := r.Runs[i-1], r.Runs[i]
				if b.Run <= a.Run {
					breach(t.seq, "run %d follows run %d", b.Run, a.Run)
				}
				if b.Started.Add(f.margin).Before(a.Ended) && !f.excused(t, f.of(t, a), b.Started) {
					breach(t.seq, "run %d was claimed %v before run %d ended", b.Run, a.Ended.Sub(b.Started), a.Run)
				}
			}
		}
	}
}

func (f *facts) overlapOfEffects(t *task, breach breach) {
	var newest, told int64
	wrote := make(map[int64]bool) // runs that had an effect accepted
	for _, e := range t.effects {
		if !e.Stale {
			newest, wrote[e.Fence] = max(newest, e.Fence), true
			continue
		}
		if wrote[e.Fence] && e.Fence < newest && e.Fence != told && !f.excused(t, f.byName[e.Process], e.at.At) {
			told = e.Fence
			breach(t.seq, "run %d by %s was still at work at step %d after run %d had begun", e.Fence, e.Process, e.Step, newest)
		}
	}
}

// excused reports whether a process may still have had a run at a time when another process had
// already taken that run over.
func (f *facts) excused(t *task, p *process, at time.Time) bool {
	return p == nil || f.dead(p, at) || f.away(p, at) || t.plan.UnresponsiveMS > 0 && p.wasTold(at) || f.touched(t)
}

// wasTold reports whether a process had received an order to end by then.
func (p *process) wasTold(at time.Time) bool {
	return slices.ContainsFunc(p.told, func(e *history.Event) bool { return !e.At.After(at) })
}

// checkOnce checks the rule "once".
func checkOnce(f *facts, breach breach) {
	for _, t := range f.tasks {
		if f.touched(t) {
			continue
		}
		won := make(map[int64]bool)
		for _, r := range t.records {
			if n := len(r.Runs); t.plan.InTx && r.Status == succeeded && n > 0 {
				won[r.Runs[n-1].Run] = true
			}
		}
		if len(won) > 0 && len(t.tx) == 0 {
			breach(t.seq, "it has succeeded, and its effect in the transaction is not there")
		}
		if len(t.tx) > 1 {
			breach(t.seq, "its effect in the transaction is there %d times", len(t.tx))
			continue
		}
		for _, x := range t.tx {
			switch {
			case len(won) == 0:
				breach(t.seq, "run %d left step %d in a transaction that did not end the task in success", x.Fence, x.Step)
			case !won[x.Fence]:
				breach(t.seq, "run %d left step %d in a transaction, and another run has succeeded", x.Fence, x.Step)
			case x.Step != t.plan.Steps-1:
				breach(t.seq, "step %d is in the transaction, and not the last of %d", x.Step, t.plan.Steps)
			}
		}
	}
}
