package checker

import "github.com/lastcall-go/lastcall/test/chaos/history"

// checkOrder checks the rule "order". Plans whose steps the library records have rules of their
// own.
func checkOrder(f *facts, breach breach) {
	for _, t := range f.tasks {
		if len(t.adds) == 0 && t.made == nil || t.plan.Recorded || t.plan.Items || f.touched(t) {
			continue
		}
		w := walk{f: f, t: t, breach: breach}
		for _, e := range t.accepted() {
			w.step(e)
		}
	}
}

// walk goes through the accepted effects of a task.
type walk struct {
	f      *facts
	t      *task
	last   effect
	breach breach
	fence  int64
	next   int // the expected step
	done   int // the steps done by all runs
	over   bool
	lost   bool // a breach of this run was already reported
}

// step checks the next effect.
func (w *walk) step(e effect) {
	// If the store has lost the end of a run, its worker may begin the same run again.
	again := e.Step == history.Begun && e.Fence == w.fence && e.Process == w.last.Process && w.f.lostBetween(w.last.at.At, e.at.At)
	w.last = e
	if e.Fence != w.fence || again {
		w.fence, w.over, w.lost = e.Fence, false, false
		w.begin(e)
		return
	}
	if w.lost {
		return
	}
	w.lost = true
	switch {
	case w.over:
		w.breach(w.t.seq, "run %d did step %d after it had said that it was done", e.Fence, e.Step)
	case e.Step == history.Begun:
		w.breach(w.t.seq, "run %d has begun twice", e.Fence)
	case e.Step == history.Finished && w.next != w.t.plan.Steps:
		w.breach(w.t.seq, "run %d has returned before step %d of %d", e.Fence, w.next, w.t.plan.Steps)
	case e.Step == history.HandedOver && e.Resumed != w.next:
		w.breach(w.t.seq, "run %d hands over step %d instead of %d", e.Fence, e.Resumed, w.next)
	case e.Step == history.Finished, e.Step == history.HandedOver:
		w.over, w.lost = true, false
	case e.Step != w.next:
		w.breach(w.t.seq, "run %d did step %d instead of %d", e.Fence, e.Step, w.next)
	default:
		w.next, w.lost = w.next+1, false
		w.done = max(w.done, w.next)
	}
}

// begin checks where a run begins.
func (w *walk) begin(e effect) {
	least := 0
	// A handler that was given up may do steps without saving.
	if w.t.plan.Save && w.t.plan.UnresponsiveMS == 0 {
		least = w.done - 1
	}
	switch {
	case e.Step != history.Begun:
		w.lost = true
		w.breach(w.t.seq, "run %d did step %d before it had begun", e.Fence, e.Step)
	case e.Resumed > w.done:
		w.breach(w.t.seq, "run %d goes on at step %d, and %d were done", e.Fence, e.Resumed, w.done)
	case e.Resumed < least:
		w.breach(w.t.seq, "run %d goes on at step %d, though %d were done and a checkpoint saved after each", e.Fence, e.Resumed, w.done)
	}
	w.next = e.Resumed
}

// checkHandOver checks the rule "handover".
func checkHandOver(f *facts, breach breach) {
	for _, t := range f.tasks {
		if len(t.records) != 1 || f.touched(t) {
			continue
		}
		known := runs(t.records[0])
		var given *history.Effect
		for _, e := range t.accepted() {
			if e.Step == history.Begun && given != nil && e.Resumed != given.Resumed {
				breach(t.seq, "run %d handed over step %d, and run %d goes on at step %d", given.Fence, given.Resumed, e.Fence, e.Resumed)
			}
			given = nil
			if e.Step == history.HandedOver && handedOver(known[e.Fence]) {
				given = e.Effect
			}
		}
	}
}

// handedOver reports whether the store has a run as its own process reported it, including what it
// handed over. A handler that was given up at the deadline is reported without that.
func handedOver(r history.Run) bool {
	return r.Status == interrupted && !r.Reclaimed && !r.Crashed && r.Reason != "deadline"
}
