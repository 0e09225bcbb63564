package storetest

import (
	"errors"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// prioritized puts a new task into a queue, with a priority.
func prioritized(queue string, priority int) func(*task.NewTask) {
	return func(n *task.NewTask) { n.Queue, n.Priority = queue, priority }
}

// claimFrom claims one task of kind k that has a priority, or a higher one.
func (t *T) claimFrom(least int, alter ...func(*task.ClaimRequest)) []string {
	t.Helper()
	req := request("w", 1)
	req.MinPriority = &least
	for _, a := range alter {
		a(&req)
	}
	got, err := t.Store.Claim(t.Context(), req)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return ids(got)
}

var turnRules = []rule{
	{"44", "a claim with a least priority gives no task of a lower one, and hides none from the next", func(t *T) {
		t.join("w")
		if got := t.claimFrom(0); len(got) != 0 {
			t.Fatalf("claimed %v, and there is nothing", got)
		}
		low, other := t.add(prioritized("default", -1)), t.add(prioritized("other", -2))
		if got := t.claimFrom(0); len(got) != 0 {
			t.Fatalf("claimed %v, of a lower priority", got)
		}
		high, mid, late := t.add(prioritized("default", 5)), t.add(prioritized("other", 0)), t.add(prioritized("default", 0))
		if got := t.claimFrom(6); len(got) != 0 {
			t.Fatalf("claimed %v, of a lower priority", got)
		}
		if got := t.claimFrom(0, func(req *task.ClaimRequest) { req.Queues = []string{"other"} }); !slices.Equal(got, []string{mid}) {
			t.Errorf("claimed %v of the other queue, want %s", got, mid)
		}
		for _, want := range []string{high, late} {
			if got := t.claimFrom(0); !slices.Equal(got, []string{want}) {
				t.Errorf("claimed %v, want %s", got, want)
			}
		}
		if got := t.claimFrom(0); len(got) != 0 {
			t.Fatalf("claimed %v, of a lower priority", got)
		}
		if got := ids(t.claim("w", 10)); !slices.Equal(got, []string{low, other}) {
			t.Errorf("claimed %v then, want %s and %s", got, low, other)
		}
	}},
	{"44", "what is queued again since it was the turn of others comes after those, and says so", func(t *T) {
		c := t.run("w")
		t.tick()
		first, second := t.add(), t.add()
		t.tick()
		turn := change(c, task.StatusQueued)
		turn.Reason, turn.Counters.Interruptions, turn.Checkpoint = task.ReasonTurn, 1, []byte("half")
		for range 2 {
			t.mustApply(turn)
		}
		other := turn
		other.Reason = ""
		if err := t.apply(other); !errors.Is(err, task.ErrAlreadyFinished) {
			t.Errorf("the end again, without its reason: %v", err)
		}
		if got := t.get(c.ID); got.Status != task.StatusQueued || got.Reason != task.ReasonTurn || got.Interruptions != 1 || got.Runs != 1 {
			t.Errorf("%+v", got)
		}
		if runs, err := t.Store.History(t.Context(), c.ID); err != nil || len(runs) != 1 || runs[0].Reason != task.ReasonTurn {
			t.Errorf("%+v, %v", runs, err)
		}
		t.tick()
		last := t.add()
		got := t.claim("w", 10)
		if want := []string{first, second, c.ID, last}; !slices.Equal(ids(got), want) {
			t.Fatalf("claimed %v, want %v", ids(got), want)
		}
		if again := got[2]; again.Reason != task.ReasonTurn || string(again.Checkpoint) != "half" {
			t.Errorf("claimed %+v", again)
		}
	}},
}
