package checker

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkPaused checks the rule "paused". A claim has the time at which it began, and it may begin
// until the pause is answered. So the times are compared without a margin.
func checkPaused(f *facts, breach breach) {
	if f.clocks {
		return
	}
	paused := make(map[string][]span)
	for queue, controls := range f.queues {
		paused[queue] = f.pauses(controls)
	}
	for _, t := range f.tasks {
		for _, r := range t.records {
			for _, run := range r.Runs {
				if slices.ContainsFunc(paused[r.Queue], func(s span) bool { return s.has(run.Started) }) {
					breach(t.seq, "run %d was claimed while its queue, %s, was paused", run.Run, r.Queue)
				}
			}
		}
	}
}

// late is how long after its request a call with an unknown outcome may still be executed.
const late = time.Minute

// pauses returns the times in which a queue was certainly paused: from the answer to a pause until
// the next call that may resume it.
func (f *facts) pauses(controls []*control) (spans []span) {
	for _, c := range controls {
		if c.asked.Call.Op != history.Pause || !c.known() || f.lossy(c.answered.At) {
			continue
		}
		s := span{c.answered.At, f.end}
		for _, r := range controls {
			over := r.answered != nil && r.answered.N < c.asked.N
			if !r.known() {
				over = r.asked.At.Add(late).Before(c.asked.At)
			}
			if r.asked.Call.Op == history.Resume && !r.is(history.Refused) && !over && r.asked.At.Before(s.to) {
				s.to = r.asked.At
			}
		}
		if s.from.Before(s.to) {
			spans = append(spans, s)
		}
	}
	return spans
}
