package checker

import (
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// tickWithin is how late a tick may be, counting only the time in which the store can be reached.
const tickWithin = 20 * time.Second

func (f *facts) schedule(name string) *schedule {
	for _, s := range f.schedules {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// tick gives the task of a tick its number and its plan.
func (f *facts) tick(r *history.Task) {
	s := f.schedule(r.Schedule)
	if s == nil || r.Tick.IsZero() {
		return
	}
	r.Seq = s.Seq(r.Tick)
	t := f.task(r.Seq)
	t.made, t.plan = s, s.Plan
	t.plan.Seq = r.Seq
}

// checkTicks checks the rule "ticks". A tick is due by the store's clock, which a fault may move.
func checkTicks(f *facts, breach breach) {
	for _, t := range f.tasks {
		if t.made != nil && len(t.records) > 1 {
			breach(t.seq, "the tick %v of %s has made %d tasks", t.records[0].Tick, t.made.Name, len(t.records))
		}
		for _, r := range t.records {
			if t.made != nil && !r.Tick.Truncate(t.made.Every).Equal(r.Tick) {
				breach(t.seq, "%s has no tick at %v", t.made.Name, r.Tick)
			}
		}
	}
	for _, s := range f.schedules {
		if !f.clocks {
			f.checkSchedule(s, breach)
		}
	}
}

// checkSchedule checks that no tick is missing between the first one and the last one, nor before
// the pause, and that none is made after it. A fault that loses commits may lose the schedule
// itself, if it comes soon after its begin.
func (f *facts) checkSchedule(s *schedule, breach breach) {
	var first, last, paused time.Time
	until := f.end
	for _, c := range s.pauses {
		if !c.is(history.Refused) {
			until = earlier(until, c.asked.At)
		}
		if c.is(history.Done) && !f.lossy(c.answered.At) && paused.IsZero() {
			paused = c.answered.At
		}
	}
	for _, t := range f.tasks {
		if t.made != s || len(t.records) == 0 {
			continue
		}
		at := t.records[0].Tick
		if first.IsZero() || at.Before(first) {
			first = at
		}
		last = later(last, at)
		if !paused.IsZero() && at.After(paused) {
			breach(t.seq, "the tick %v of %s has made it, %v after the schedule was paused", at, s.Name, at.Sub(paused))
		}
	}
	if first.IsZero() {
		if worked := f.firstWorker(); !worked.IsZero() && f.reachable(worked, until) > tickWithin {
			breach(0, "%s has made no task in %v", s.Name, until.Sub(worked))
		}
		return
	}
	for at := first.Add(s.Every); at.Before(last) || f.reachable(at, until) > tickWithin; at = at.Add(s.Every) {
		if t := f.bySeq[s.Seq(at)]; (t == nil || len(t.records) == 0) && !f.lostBetween(first, first.Add(f.margin)) {
			breach(0, "the tick %v of %s has made no task", at, s.Name)
		}
	}
}

// firstWorker returns when the first worker was ready that had effects.
func (f *facts) firstWorker() (at time.Time) {
	for _, p := range f.processes {
		if p.worked && p.started != nil && (at.IsZero() || p.started.At.Before(at)) {
			at = p.started.At
		}
	}
	return at
}
