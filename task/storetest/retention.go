package storetest

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// day is far longer than a case takes.
const day = 24 * time.Hour

// claimKeeping claims a task of kind k with a retention.
func (t *T) claimKeeping(keep task.Retention) task.Task {
	t.Helper()
	req := request("w", 1)
	req.Kinds[0].Retention = keep
	got, err := t.Store.Claim(t.Context(), req)
	if err != nil || len(got) != 1 {
		t.Fatalf("Claim: %v, %v", ids(got), err)
	}
	return got[0]
}

// endKeeping adds a task, claims it with a retention, and ends it.
func (t *T) endKeeping(keep task.Retention, status task.Status) string {
	t.Helper()
	id := t.add()
	t.mustApply(change(t.claimKeeping(keep), status))
	return id
}

// wantPruned prunes in steps of one, and complains unless exactly these tasks were removed.
func (t *T) wantPruned(what string, req task.PruneRequest, from, left []string) {
	t.Helper()
	for req.Max = 1; ; {
		done, err := t.Store.Prune(t.Context(), req)
		if err != nil || done.Tasks > req.Max+1 { // of a call that is made twice
			t.Fatalf("Prune: %+v, %v", done, err)
		}
		if req.After = done.Next; done.Next == "" {
			break
		}
	}
	found, err := t.Store.Find(t.Context(), task.Query{IDs: from, Limit: len(from)})
	got := ids(found)
	slices.Sort(got)
	if slices.Sort(left); err != nil || !slices.Equal(got, left) {
		t.Errorf("%s: left are %v, %v, want %v", what, got, err, left)
	}
}

var retentionRules = []rule{
	{"37", "what has ended is kept as long as its run's kind says for its status, whatever Age is", func(t *T) {
		t.join("w")
		const soon = time.Microsecond
		// Old by any Age, and still kept.
		longer := []string{
			t.endKeeping(task.Retention{Succeeded: day, Failed: soon, Cancelled: soon}, task.StatusSucceeded),
			t.endKeeping(task.Retention{Succeeded: soon, Failed: day, Cancelled: soon}, task.StatusFailed),
			t.endKeeping(task.Retention{Succeeded: soon, Failed: soon, Cancelled: day}, task.StatusCancelled),
			t.endKeeping(task.Retention{Succeeded: -1, Failed: soon, Cancelled: soon}, task.StatusSucceeded),
			t.endKeeping(task.Retention{Failed: -1}, task.StatusFailed),
		}
		// Young by their Age, and removed.
		sooner := []string{
			t.endKeeping(task.Retention{Succeeded: soon, Failed: day, Cancelled: day}, task.StatusSucceeded),
			t.endKeeping(task.Retention{Succeeded: day, Failed: soon, Cancelled: -1}, task.StatusFailed),
			t.endKeeping(task.Retention{Succeeded: day, Failed: -1, Cancelled: soon}, task.StatusCancelled),
		}
		// Kept by Age.
		others := []string{
			t.endKeeping(task.Retention{}, task.StatusSucceeded), t.endKeeping(task.Retention{Succeeded: soon}, task.StatusFailed), t.endKeeping(task.Retention{Failed: -1, Succeeded: day}, task.StatusCancelled),
		}
		all := slices.Concat(longer, sooner, others)
		t.tick()
		behind := task.PruneRequest{KeepOthers: true, Clock: time.Now().Add(-day)}
		t.wantPruned("by a clock that is behind", behind, all, slices.Clone(all))
		t.wantPruned("that keeps others", task.PruneRequest{KeepOthers: true}, all, slices.Concat(longer, others))
		t.wantPruned("of a long age", task.PruneRequest{Age: day}, all, slices.Concat(longer, others))
		t.wantPruned("of no age", task.PruneRequest{}, all, slices.Clone(longer))
		t.count("default k succeeded", 2, "default k failed", 2, "default k cancelled", 1)
		for _, id := range slices.Concat(sooner, others) {
			t.gone(id)
		}
	}},
	{"37", "the retention goes with the run, whichever worker records its end, and a later run has its own", func(t *T) {
		t.join("w")
		const soon = time.Microsecond
		keep := task.Retention{Failed: day, Cancelled: day}
		// It was cancelled while it ran, and its handler handed over.
		handedOver := t.add()
		c := change(t.claimKeeping(keep), task.StatusInterrupted)
		t.mustAsk(task.VerbCancel, handedOver)
		t.mustApply(c)
		// A later run was of another version.
		later := t.add()
		t.mustApply(change(t.claimKeeping(task.Retention{Failed: -1}), task.StatusQueued))
		t.mustApply(change(t.claimKeeping(task.Retention{Failed: soon}), task.StatusFailed))
		// It was cancelled while it waited.
		waited := t.add()
		t.mustApply(change(t.claimKeeping(keep), task.StatusInterrupted))
		t.mustAsk(task.VerbCancel, waited)
		// It was retried, and cancelled while it waited.
		retried := t.endKeeping(keep, task.StatusFailed)
		t.mustAsk(task.VerbRetry, retried)
		t.mustAsk(task.VerbCancel, retried)
		// Another worker recorded the end.
		taken := t.add()
		run := t.claimKeeping(keep)
		if left, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 10}); err != nil || len(left.Tasks) != 1 {
			t.Fatalf("%+v, %v", left, err)
		}
		end := change(run, task.StatusFailed)
		end.Crashed, end.Reclaimed = true, true
		t.mustApply(end)
		all := []string{handedOver, later, waited, retried, taken}
		t.tick()
		t.wantPruned("that keeps others", task.PruneRequest{KeepOthers: true}, all, []string{handedOver, waited, retried, taken})
		t.wantPruned("of no age", task.PruneRequest{}, all, []string{handedOver, taken})
		t.mustAsk(task.VerbDelete, taken)
		t.gone(taken)
	}},
}
