package checker

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

const (
	// pruneWithin is how long a task may remain after its retention, counting only the time in which
	// the store can be reached.
	pruneWithin = 20 * time.Second
	// tick is the precision with which a store's clock is read.
	tick = 10 * time.Millisecond
)

// checkKept checks the rule "kept". Both times of a task are the store's. The rule "residue" checks
// that nothing of a removed task is left.
func checkKept(f *facts, breach breach) {
	for _, t := range f.tasks {
		for _, r := range t.records {
			f.checkKeptTask(t, r, func(format string, args ...any) { breach(t.seq, format, args...) })
		}
	}
}

func (f *facts) checkKeptTask(t *task, r history.Task, say say) {
	retention := f.state.Retention
	deletes := t.may(history.Delete)
	switch {
	case r.Pruned.IsZero() && slices.ContainsFunc(deletes, func(c control) bool { return c.known() && !f.lossy(c.answered.At) }):
		say("it was deleted, and is still there")
	case !r.Pruned.IsZero() && !r.Ended.IsZero() && len(deletes) > 0: // at any time
	// It has not ended, or is kept for ever.
	case r.Pruned.IsZero() && (r.Ended.IsZero() || retention == 0):
	case retention == 0:
		say("it was removed, and nothing is to be")
	case r.Ended.IsZero():
		say("it was removed, and had not ended")
	case f.clocks:
	case !r.Pruned.IsZero() && r.Pruned.Sub(r.Ended) < retention-tick:
		say("it was removed %v after it had ended, and is to be kept for %v", r.Pruned.Sub(r.Ended), retention)
	default:
		until := r.Pruned
		if until.IsZero() {
			until = f.state.At
		}
		if late := f.reachable(r.Ended.Add(retention), until); late > pruneWithin {
			say("it was to be removed %v after it had ended, and could have been for %v", retention, late)
		}
	}
}

// reachable returns how much of a time range was free of faults of the store, or of all processes.
func (f *facts) reachable(from, to time.Time) time.Duration {
	if !to.After(from) {
		return 0
	}
	left := to.Sub(from)
	spans := slices.Clone(f.outages)
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	for _, s := range spans {
		s.from, s.to = later(s.from, from), earlier(s.to, to)
		if s.to.After(s.from) {
			left -= s.to.Sub(s.from)
			from = s.to
		}
	}
	return left
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
