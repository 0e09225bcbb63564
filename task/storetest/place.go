package storetest

import (
	"fmt"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// backlog adds tasks that all have the same RunAt, if the store reads its clock once for a call,
// and returns their ids in the order in which they are claimed.
func (t *T) backlog(n int) []string {
	t.Helper()
	tasks := make([]task.NewTask, n)
	for i := range tasks {
		tasks[i] = task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("{}")}
	}
	if _, err := t.Store.Add(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	var all []task.Task
	for _, n := range tasks {
		all = append(all, t.get(n.ID))
	}
	slices.SortStableFunc(all, func(a, b task.Task) int { return a.RunAt.Compare(b.RunAt) })
	return ids(all)
}

// giveBack ends a run as if its task had not been claimed.
func giveBack(c task.Task, status task.Status, reason task.Reason) task.Change {
	ch := change(c, status)
	ch.Reason, ch.RunAt = reason, c.RunAt
	return ch
}

var placeRules = []rule{
	{"42", "a task that is given back has its old place, also among those that have the same RunAt", func(t *T) {
		t.join("w")
		t.join("other")
		want := t.backlog(30)
		first := t.claim("w", 3)
		t.tick() // as it goes in a stop: the tasks come back later
		before := first[1].RunAt
		for _, c := range []task.Change{giveBack(first[2], task.StatusQueued, ""), giveBack(first[1], task.StatusQueued, "")} {
			t.mustApply(c)
		}
		if got := t.get(want[1]); !got.RunAt.Equal(before) || !got.Since.After(before) {
			t.Errorf("claimable since %v, want %v; queued since %v", got.RunAt, before, got.Since)
		}
		t.mustApply(change(first[0], task.StatusQueued)) // one that has a try behind it goes to the end
		var got []string
		for range want {
			got = append(got, ids(t.claim("other", 1))...)
		}
		if want := append(slices.Clone(want[1:]), want[0]); !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}},
	{"42", "what was interrupted before is given back to its place among the interrupted", func(t *T) {
		t.join("w")
		t.join("other")
		t.backlog(5)
		var handed []string
		for i := range 3 {
			handed = append(handed, t.interrupted("w", of("k", fmt.Sprint("q", i), 0)))
			t.tick()
		}
		runs := t.claim("w", 2)
		t.tick()
		var back []task.Change
		for _, r := range slices.Backward(runs) {
			back = append(back, giveBack(r, task.StatusInterrupted, task.ReasonReleased))
		}
		for i, err := range t.Store.Apply(t.Context(), back) { // both with one call
			if err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		}
		if got := ids(t.claim("other", 3)); !slices.Equal(got, handed) {
			t.Errorf("claimed %v, want %v", got, handed)
		}
	}},
}
