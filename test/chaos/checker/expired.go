package checker

import (
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// expired is the reason with which a task is cancelled that could not start in time.
const expired = "expired"

// checkExpired checks the rule "expired". The times are the store's, which a fault may move.
func checkExpired(f *facts, breach breach) {
	if f.clocks {
		return
	}
	for _, t := range f.tasks {
		if f.touched(t) {
			continue
		}
		for _, r := range t.records {
			until := r.Created.Add(time.Duration(t.plan.StartBeforeMS) * time.Millisecond)
			// A retry of an expired task removes it.
			bound := t.plan.StartBeforeMS > 0 && len(t.may(history.Retry)) == 0
			switch {
			case bound && len(r.Runs) > 0 && !forgotten(r, 0) && r.Runs[0].Started.After(until):
				breach(t.seq, "run %d began %v after the time before which it was to start", r.Runs[0].Run, r.Runs[0].Started.Sub(until))
			case r.Reason != expired:
			case t.plan.StartBeforeMS == 0:
				breach(t.seq, "it has expired, and may start at any time")
			case len(r.Runs) > 0:
				breach(t.seq, "it has expired, and run %d had begun", r.Runs[0].Run)
			case r.Ended.Before(until):
				breach(t.seq, "it has expired %v too early", until.Sub(r.Ended))
			}
		}
	}
}
