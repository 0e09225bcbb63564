package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lastcall-go/lastcall/task"
)

// prioritized puts a new task into a queue, with a priority.
func prioritized(queue string, priority int) func(*task.NewTask) {
	return func(n *task.NewTask) { n.Queue, n.Priority = queue, priority }
}

// claimFrom claims one task of kind k that has this priority, or a higher one.
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

// askedOf returns the commands for a worker's runs, by their tasks.
func (t *T) askedOf(worker string) map[string]task.Verb {
	t.Helper()
	w, ok := t.worker(worker)
	if !ok {
		t.Fatalf("no worker %s", worker)
	}
	reply, err := t.beat(worker, w.Seq+1, task.WorkerRunning)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]task.Verb)
	for _, c := range reply.Commands {
		asked[c.Task] = c.Verb
	}
	return asked
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
	{"45", "a pause with what runs asks each run of the queue to hand over, and no other", func(t *T) {
		t.join("w")
		for _, queue := range []string{"q", "q", "q", "other"} {
			t.add(prioritized(queue, 0))
		}
		runs := t.claim("w", 4)
		waiting := t.add(prioritized("q", 0))
		t.mustAsk(task.VerbCancel, runs[1].ID)
		pause := task.Command{Verb: task.VerbPause, Queue: "q", Running: true}
		for range 2 {
			if err := t.Store.Control(t.Context(), pause); err != nil {
				t.Fatal(err)
			}
		}
		want := make(map[string]task.Verb)
		for i, c := range runs {
			if c.Queue == "q" {
				want[c.ID] = []task.Verb{task.VerbInterrupt, task.VerbCancel, task.VerbInterrupt, task.VerbInterrupt}[i]
			}
		}
		if got := t.askedOf("w"); !maps.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
		for _, c := range runs {
			t.mustApply(change(c, task.StatusInterrupted))
		}
		if got := ids(t.claim("w", 10)); len(got) != 1 || got[0] == waiting {
			t.Errorf("claimed %v, want the task of the other queue", got)
		}
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbResume, Queue: "q"}); err != nil {
			t.Fatal(err)
		}
		again := t.claim("w", 10)
		if len(again) != 3 {
			t.Errorf("claimed %v then", ids(again))
		}
		if got := t.askedOf("w"); len(got) != 0 {
			t.Errorf("asked %v of new runs", got)
		}
	}},
	{"45", "a pause with what runs reaches a run whose claim is under way", func(t *T) {
		t.join("w")
		for round := range 20 {
			queue := fmt.Sprint("q", round)
			for range 4 {
				t.add(prioritized(queue, 0))
			}
			var wg sync.WaitGroup
			claimed := make([][]task.Task, 4)
			for i := range claimed {
				wg.Go(func() { claimed[i] = t.claim("w", 1) })
			}
			if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: queue, Running: true}); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			asked := t.askedOf("w")
			for _, c := range slices.Concat(claimed...) {
				if asked[c.ID] != task.VerbInterrupt {
					t.Fatalf("round %d: a run was not asked", round)
				}
				t.mustApply(change(c, task.StatusSucceeded))
			}
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
