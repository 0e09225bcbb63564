package checker

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkSteps checks the rule "steps".
func checkSteps(f *facts, breach breach) {
	for _, t := range f.tasks {
		if !t.plan.Recorded || f.touched(t) {
			continue
		}
		w := results{say: func(format string, args ...any) { breach(t.seq, format, args...) }, by: make(map[int]int64), did: make(map[int][]int64)}
		for _, e := range t.accepted() {
			if w.told != e.Fence { // each run is reported once
				w.effect(e, t.plan.Steps)
			}
		}
	}
}

// results goes through the accepted effects of a task whose steps have results.
type results struct {
	say   say
	fence int64
	next  int             // the step that comes next in this run
	done  bool            // this run has done it
	by    map[int]int64   // the results that runs have got
	did   map[int][]int64 // the runs that have done a step
	told  int64           // the run of which a breach was reported
}

// effect checks the next effect.
func (w *results) effect(e effect, steps int) {
	if e.Fence != w.fence {
		w.fence, w.next, w.done = e.Fence, 0, false
		if e.Step != history.Begun {
			w.breach("run %d did step %d before it had begun", e.Fence, e.Step)
		}
		return
	}
	result, known := w.by[w.next]
	switch {
	case e.Step == history.Returned && e.Resumed != w.next:
		w.breach("run %d has the result of step %d, and step %d comes next", e.Fence, e.Resumed, w.next)
	case e.Step == history.Returned && !slices.Contains(w.did[w.next], e.Result):
		w.breach("run %d has a result of step %d by run %d, which did not do it", e.Fence, w.next, e.Result)
	case e.Step == history.Returned && known && e.Result != result:
		w.breach("run %d has the result of step %d by run %d, and an earlier run that by run %d", e.Fence, w.next, e.Result, result)
	case e.Step == history.Returned:
		w.by[w.next] = e.Result
		w.next, w.done = w.next+1, false
	case e.Step == history.Finished && w.next != steps:
		w.breach("run %d has returned with %d results of %d", e.Fence, w.next, steps)
	case e.Step < 0:
	case e.Step != w.next || w.done:
		w.breach("run %d did step %d, and step %d comes next", e.Fence, e.Step, w.next)
	case known:
		w.breach("run %d did step %d again, whose result by run %d was recorded", e.Fence, e.Step, result)
	default:
		w.did[w.next], w.done = append(w.did[w.next], e.Fence), true
	}
}

func (w *results) breach(format string, args ...any) {
	w.told = w.fence
	w.say(format, args...)
}

// checkEach checks the rule "each".
func checkEach(f *facts, breach breach) {
	for _, t := range f.tasks {
		if !t.plan.Items || f.touched(t) {
			continue
		}
		var least, done int // the items whose position was recorded, and all that were done
		for _, items := range t.itemsByRun() {
			run := items[0].Fence
			switch first := items[0].Step; {
			case first > done:
				breach(t.seq, "run %d begins with item %d, and %d were done", run, first, done)
			case first < least:
				breach(t.seq, "run %d begins with item %d, and the position behind %d items was recorded", run, first, least)
			}
			for i, e := range items {
				if e.Step != items[0].Step+i {
					breach(t.seq, "run %d did item %d after item %d", run, e.Step, items[i-1].Step)
					break
				}
				done = max(done, e.Step+1)
			}
			least = max(least, f.recorded(t, items))
		}
	}
}

// itemsByRun returns the items that each run has done, in their order.
func (t *task) itemsByRun() (all [][]effect) {
	for _, e := range t.accepted() {
		switch n := len(all); {
		case e.Step < 0:
		case n > 0 && all[n-1][0].Fence == e.Fence:
			all[n-1] = append(all[n-1], e)
		default:
			all = append(all, []effect{e})
		}
	}
	return all
}

// recorded returns how many items have certainly been recorded as done by a run. The position is
// recorded after the first item that ends EveryMS after the last time, and before the next item
// begins. The last item of a run may not have ended.
func (f *facts) recorded(t *task, items []effect) int {
	last := len(items) - 2
	if last < 0 {
		return items[0].Step
	}
	if f.gaveBack(t, items) {
		return items[last].Step + 1
	}
	every := time.Duration(t.plan.EveryMS) * time.Millisecond
	for i := last; i >= 0; i-- {
		if items[last].at.At.Sub(items[i].at.At) >= every {
			return items[i].Step + 1
		}
	}
	return items[0].Step
}

// gaveBack reports whether the process of a run has handed the task over, while nothing kept it
// from recording the position.
func (f *facts) gaveBack(t *task, items []effect) bool {
	end := items[len(items)-1]
	hit := func(x *fault) bool {
		return (len(x.Victims) == 0 || x.Cut && slices.Contains(x.Victims, end.Process)) && x.meets(end.at.At.Add(-f.margin), end.at.At.Add(f.lease+f.margin))
	}
	return slices.ContainsFunc(t.records, func(r history.Task) bool {
		run, ok := runs(r)[end.Fence]
		return ok && handedOver(run)
	}) && !slices.ContainsFunc(f.faults, hit)
}
