package checker

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkCrashes checks the rule "crashes".
func checkCrashes(f *facts, breach breach) {
	reclaimed := make(map[*process][]casualty)
	for _, t := range f.tasks {
		for _, r := range t.records {
			crashes := 0
			for _, run := range r.Runs {
				p := f.of(t, run)
				if run.Reclaimed && p != nil {
					reclaimed[p] = append(reclaimed[p], casualty{t, run, crashes})
				}
				if !run.Crashed {
					continue
				}
				crashes++
				if t.plan.Exit == 0 && !f.mayCrash(p, run) {
					breach(t.seq, "run %d counts as a crash, and its process, %s, had not died", run.Run, p)
				}
			}
			if n := len(r.Runs); n > 0 && r.Status == failed && r.Runs[n-1].Crashed && t.plan.Exit == 0 {
				breach(t.seq, "it has failed for its crashes, and does not kill its process: %s", r.Error)
			}
		}
	}
	for _, p := range f.processes {
		checkNeighbours(f, p, reclaimed[p], breach)
	}
}

// mayCrash reports whether a run may count as a crash: its process had died, or was away for so
// long that it was considered dead.
func (f *facts) mayCrash(p *process, r history.Run) bool {
	if p == nil {
		return false
	}
	at := f.when(r.Ended)
	return p.killed() && f.dead(p, at) || f.away(p, at)
}

// casualty is a run that was taken from a process.
type casualty struct {
	*task
	run     history.Run
	crashes int // of its task, before this run
}

// suspect reports whether a task was certainly a suspect: it had two crashes and nothing that
// resets their count, neither a checkpoint, nor a step, nor a retry.
func (c casualty) suspect() bool {
	return c.crashes >= 2 && !c.plan.Save && !c.plan.HandOver && !c.plan.Recorded && !c.plan.Items && len(c.may(history.Retry)) == 0
}

// checkNeighbours checks that no crash was counted for the neighbour of a suspect. When a process
// dies and exactly one of its tasks was in two crashes before, only that task is charged. If there
// are several such tasks, none is charged.
func checkNeighbours(f *facts, p *process, taken []casualty, breach breach) {
	if len(p.stops) > 0 || f.away(p, f.end) {
		return // its runs may have been taken at several times
	}
	i := slices.IndexFunc(taken, func(c casualty) bool { return c.run.Crashed && c.suspect() })
	if i < 0 {
		return
	}
	for k, c := range taken {
		switch {
		case k == i:
		case c.run.Crashed:
			breach(c.seq, "run %d counts as a crash, though task %d was the suspect when %s died", c.run.Run, taken[i].seq, p)
		case c.suspect():
			breach(taken[i].seq, "run %d counts as a crash, though task %d was a suspect too when %s died", taken[i].run.Run, c.seq, p)
		}
	}
}

// checkAlive checks the rule "alive".
func checkAlive(f *facts, breach breach) {
	for _, t := range f.tasks {
		for _, r := range t.records {
			for _, run := range r.Runs {
				if !run.Reclaimed {
					continue
				}
				p, at := f.of(t, run), f.when(run.Ended)
				if p == nil || !f.dead(p, at) && !f.away(p, at) {
					breach(t.seq, "run %d was taken from %s, which was alive", run.Run, p)
				}
			}
		}
	}
}

// String names a process.
func (p *process) String() string {
	if p == nil {
		return "a process that the harness does not know"
	}
	return p.name
}

// checkGrace checks the rule "grace".
func checkGrace(f *facts, breach breach) {
	for _, p := range f.processes {
		for _, e := range p.told {
			until := e.At.Add(e.Process.Grace + f.margin)
			late := p.ended == nil && f.end.After(until) || p.ended != nil && p.ended.At.After(until)
			if late && !p.stopped(e.At, until) {
				breach(0, "%s was sent %s with a grace of %v and %s", p.name, e.Process.Signal, e.Process.Grace, p.end(e.At))
			}
		}
		if p.ended != nil && p.signals == 0 && (p.worked || p.killed()) && !f.explained(p) {
			breach(0, "%s ended by itself (code %d %s), and nobody had asked for it", p.name, p.ended.Process.Code, p.ended.Process.By)
		}
	}
}

// end describes how long after a time a process ended.
func (p *process) end(since time.Time) string {
	if p.ended == nil {
		return "has not ended"
	}
	return "ended after " + p.ended.At.Sub(since).String()
}

// stopped reports whether a process was stopped at any time within a range.
func (p *process) stopped(from, to time.Time) bool {
	return slices.ContainsFunc(p.stops, func(s span) bool { return !s.from.After(to) && !s.to.Before(from) })
}

// explained reports whether there is a reason for the end of a process that got no signal:
//   - a fault that names the process;
//   - a fault of the store at the process's start, so that it cannot begin;
//   - another process that is stopped all the time, possibly while it holds the store's lock;
//   - a task that kills its process.
func (f *facts) explained(p *process) bool {
	end := p.ended
	hit := func(x *fault) bool {
		if slices.Contains(x.Victims, p.name) {
			return x.begin.N < end.N
		}
		begins := !p.ready || !p.worked && p.started != nil && x.meets(p.started.At, p.started.At.Add(f.margin))
		return len(x.Victims) == 0 && begins && x.meets(end.At.Add(-f.margin), end.At)
	}
	held := func(o *process) bool {
		return o != p && !p.worked && p.started != nil && slices.ContainsFunc(o.stops, func(s span) bool {
			return !s.from.After(p.started.At.Add(f.margin)) && !s.to.Before(end.At.Add(-f.margin))
		})
	}
	if slices.ContainsFunc(f.faults, hit) || slices.ContainsFunc(f.processes, held) {
		return true
	}
	return slices.ContainsFunc(f.tasks, func(t *task) bool {
		if t.plan.Exit == 0 || t.plan.Kind == history.KindProgram {
			return false
		}
		for _, e := range slices.Backward(t.effects) {
			if e.Process == p.name {
				return e.Step >= 0 && end.At.Sub(e.at.At) <= f.margin
			}
		}
		return false
	})
}
