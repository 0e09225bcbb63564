package checker

import (
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkInvented checks the rule "invented".
func checkInvented(f *facts, breach breach) {
	for _, r := range f.unasked {
		breach(r.Seq, "nobody has asked for it, and it is in the store as %s", r.ID)
	}
	for _, t := range f.tasks {
		if t.fate() == never && t.made == nil {
			for _, r := range t.records {
				breach(t.seq, "it is in the store as %s, and %s", r.ID, t.adds[0].refusal())
			}
		}
		for _, a := range t.adds {
			if id, existed := a.holder(); existed {
				f.checkHolder(a, id, func(format string, args ...any) { breach(t.seq, format, args...) })
			}
		}
	}
}

// refusal returns why an enqueue was certainly not executed.
func (a add) refusal() string {
	switch {
	case a.asked.Call.Op == history.EnqueueTx && !a.asked.Call.Commit:
		return "its transaction was rolled back"
	case a.answered.Answer.Outcome == history.Refused:
		return "it was refused: " + a.answered.Answer.Error
	}
	return "the answer was that another one had its key"
}

// checkHolder checks that the task named in the answer to an enqueue had the key at that time.
func (f *facts) checkHolder(a add, id string, say say) {
	if f.lossy(a.asked.At) || f.lossy(a.answered.At) {
		return
	}
	ids := a.answered.Answer.IDs
	// The holder may be in the same transaction, which was rolled back.
	for i, plan := range a.asked.Call.Plans {
		if i != a.place && i < len(ids) && ids[i] == id && plan.Key == a.plan().Key && plan.Kind == a.plan().Kind {
			return
		}
	}
	holder, ok := f.byID[id]
	switch {
	case !ok:
		say("it was answered with task %s, which is not in the store", id)
	case a.plan().Key == "" || holder.plan.Key != a.plan().Key || holder.plan.Kind != a.plan().Kind:
		say("it was answered with task %d (%s), which has another key: %q instead of %q", holder.seq, id, holder.plan.Key, a.plan().Key)
	case holder.adds[0].asked.N > a.answered.N:
		say("it was answered with task %d (%s), which was enqueued later", holder.seq, id)
	case !f.clocks && holder.endedBefore(a, f):
		say("it was answered with task %d (%s), which had ended before", holder.seq, id)
	}
}

// endedBefore reports whether a task had certainly ended before another one was enqueued. The
// recorded time of an end may be the beginning of its transaction, which may have waited for a lock
// during a fault of the store.
func (t *task) endedBefore(a add, f *facts) bool {
	return len(t.may(history.Retry)) == 0 && slices.ContainsFunc(t.records, func(r history.Task) bool {
		n := len(r.Runs)
		if n == 0 || r.Runs[n-1].Status != r.Status || !r.Runs[n-1].Ended.Add(f.margin).Before(a.asked.At) {
			return false
		}
		return !slices.ContainsFunc(f.outages, func(s span) bool { return s.meets(r.Runs[n-1].Ended.Add(-f.margin), a.asked.At) })
	})
}

// hold is a range of events during which a task was certainly in the store and had not ended.
type hold struct {
	*task
	from, to    int64 // the answer to its enqueue, and its last effect
	asked, told int64 // its enqueue and the answer
}

// checkKeys checks the rule "keys". It counts a task as unfinished from the answer to its enqueue
// to the last effect of its handler, and so needs no clock.
func checkKeys(f *facts, breach breach) {
	byKey := make(map[[2]string][]hold)
	for _, t := range f.tasks {
		a := t.acceptedBy()
		if t.plan.Key == "" || a == nil || len(t.records) == 0 {
			continue
		}
		h := hold{task: t, from: a.answered.N, asked: a.asked.N, told: a.answered.N}
		// An unresponsive handler continues after its task's end, and a retried task was ended in
		// between. The handler of a run that was taken away while its process was stopped may continue,
		// too.
		if t.plan.UnresponsiveMS == 0 && len(t.may(history.Retry)) == 0 && !f.touched(t) {
			known := runs(t.records[0])
			for _, e := range t.accepted() {
				if !known[e.Fence].Reclaimed {
					h.to = e.at.N
				}
			}
		}
		k := [2]string{t.plan.Kind, strings.Clone(t.plan.Key)}
		byKey[k] = append(byKey[k], h)
	}
	for _, t := range f.tasks {
		k := [2]string{t.plan.Kind, t.plan.Key}
		if holds, ok := byKey[k]; ok {
			delete(byKey, k)
			checkHolds(holds, breach)
		}
	}
}

// checkHolds checks that no task with a key was enqueued while another one held that key.
func checkHolds(holds []hold, breach breach) {
	byFrom := slices.SortedFunc(slices.Values(holds), func(a, b hold) int { return int(a.from - b.from) })
	byAsked := slices.SortedFunc(slices.Values(holds), func(a, b hold) int { return int(a.asked - b.asked) })
	var longest hold
	next := 0
	for _, h := range byAsked {
		for ; next < len(byFrom) && byFrom[next].from < h.asked; next++ {
			if byFrom[next].to > longest.to {
				longest = byFrom[next]
			}
		}
		if longest.to > h.told { // of another task: its own time begins after it was asked for
			breach(h.seq, "it was accepted with the key %q while task %d had it", h.plan.Key, longest.seq)
		}
	}
}
