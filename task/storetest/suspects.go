package storetest

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var suspectRules = []rule{
	{"26", "suspects are claimed only by a claim that says so: one of any group, or those of a group", func(t *T) {
		t.join("w")
		suspects := t.suspects(1, 2, 1, 1)
		plain := t.add()
		claims := func(most int, group task.Suspicion, want ...string) {
			t.Helper()
			req := request("w", 10)
			req.Suspects, req.Suspicion = most, group
			got, err := t.Store.Claim(t.Context(), req)
			if err != nil || !slices.Equal(ids(got), want) {
				t.Errorf("a claim of %d suspects of the group %q got %v, %v; want %v", most, group, ids(got), err, want)
			}
			for _, g := range got {
				if g.Suspect() != (g.ID != plain) || group != 0 && g.Suspect() && g.Suspicion != group {
					t.Errorf("claimed %+v", g)
				}
			}
		}
		claims(0, 0, plain)
		claims(0, 1)
		claims(9, 0, suspects[0])
		claims(9, 3)
		claims(1, 1, suspects[2])
		claims(9, 1, suspects[3])
		claims(1, 0, suspects[1])
	}},
	{"26", "a group of suspects is claimed by the rules of every claim", func(t *T) {
		t.join("w")
		low := t.suspect(1, 0)
		other := t.suspect(1, 0, func(n *task.NewTask) { n.Queue = "other" })
		paused := t.suspect(1, 0, func(n *task.NewTask) { n.Queue = "paused" })
		high := t.suspect(1, 0, func(n *task.NewTask) { n.Priority = 1 })
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: "paused"}); err != nil {
			t.Fatal(err)
		}
		claims := func(alter func(*task.ClaimRequest), want ...string) {
			t.Helper()
			req := request("w", 10)
			req.Suspects, req.Suspicion = 9, 1
			alter(&req)
			got, err := t.Store.Claim(t.Context(), req)
			if err != nil || !slices.Equal(ids(got), want) {
				t.Errorf("claimed %v, %v; want %v", ids(got), err, want)
			}
		}
		claims(func(req *task.ClaimRequest) { req.Queues = []string{"other", "paused"} }, other)
		claims(func(req *task.ClaimRequest) { req.Kinds[0].Max = 0 })
		claims(func(req *task.ClaimRequest) { req.Except, req.Max = []string{high}, 1 }, low)
		claims(func(*task.ClaimRequest) {}, high)
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbResume, Queue: "paused"}); err != nil {
			t.Fatal(err)
		}
		claims(func(*task.ClaimRequest) {}, paused)
	}},
	{"26", "Reclaim says how many suspects a dead worker held, and where they are halved", func(t *T) {
		for _, c := range []struct {
			crashes  []int // in a row, of each of its tasks: two make a suspect
			suspects int
			split    int // the place of the task at which the second half begins
		}{
			{[]int{0}, 0, -1}, {[]int{0, 1}, 0, -1}, {[]int{1, 1}, 0, 1}, {[]int{1, 0, 1, 1, 0}, 0, 3},
			{[]int{2, 0, 1, 1}, 1, -1}, {[]int{2, 1, 2}, 2, 2}, {[]int{2, 2, 0, 2, 2, 2}, 5, 4},
		} {
			var all []string
			t.join("maker")
			for _, n := range c.crashes {
				all = append(all, t.crashed(n))
			}
			dead := "dead-" + all[0]
			t.join(dead)
			for _, crashed := range []bool{true, false} { // in the order of claims
				for i, id := range all {
					if crashed == (c.crashes[i] > 0) {
						t.claimSuspect(dead, id)
					}
				}
			}
			want := ""
			if c.split >= 0 {
				want = all[c.split]
			}
			for range 2 {
				left, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: dead, Seq: 1, Max: 1})
				if err != nil || left.Suspects != c.suspects || left.Split != want || len(left.Tasks) != 1 {
					t.Fatalf("of %v: %+v, %v; want %d, split at %q", c.crashes, left, err, c.suspects, want)
				}
				taken := change(left.Tasks[0], task.StatusFailed)
				taken.Reclaimed = true
				t.mustApply(taken)
				if len(all) == 1 {
					break
				}
			}
		}
	}},
	{"26", "a task keeps its group until a change takes it away, it is retried or it has ended", func(t *T) {
		t.join("w")
		isIn := func(id string, group task.Suspicion) {
			t.Helper()
			if got := t.get(id); got.Suspicion != group {
				t.Errorf("task %s is in the group %q, want %q: %+v", id, got.Suspicion, group, got)
			}
		}
		all := t.suspects(7, 7, 7, 7)
		for _, id := range all {
			isIn(id, 7)
		}
		cleared := t.claimSuspect("w", all[0])
		isIn(all[0], 7)
		t.counts(3, 1)
		noted := change(cleared, task.StatusRunning)
		noted.Progress = &task.Progress{Fraction: 0.5}
		t.mustApply(noted)
		isIn(all[0], 7)
		saved := change(cleared, task.StatusRunning)
		saved.Checkpoint, saved.Counters = []byte("1"), task.Counters{}
		t.mustApply(saved)
		isIn(all[0], 0)
		t.counts(3, 0)
		t.mustAsk(task.VerbRetry, all[1])
		isIn(all[1], 0)
		t.mustAsk(task.VerbCancel, all[2])
		isIn(all[2], 0)
		t.counts(1, 0)
		again := change(t.claimSuspect("w", all[3]), task.StatusQueued)
		again.Delay = lease
		t.mustApply(again)
		isIn(all[3], 7)
		t.counts(1, 0)
		t.mustAsk(task.VerbRetry, all[3])
		isIn(all[3], 0)
		left, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 10})
		if err != nil || left.Suspects != 0 || left.Split != "" || len(left.Tasks) != 1 || left.Tasks[0].Suspect() {
			t.Errorf("of one that has saved a new checkpoint: %+v, %v", left, err)
		}
	}},
	{"26", "Reclaim says why the run before was interrupted: a task that is cut off by every stop becomes a suspect", func(t *T) {
		t.join("w")
		id := t.add()
		for _, reason := range []task.Reason{"", task.ReasonDeadline, task.ReasonStop} {
			if reason != "" {
				c := change(t.claim("w", 1)[0], task.StatusInterrupted)
				c.Reason, c.Counters.InterruptStreak = reason, 2
				t.mustApply(c)
			}
			worker := "dead-" + string(reason)
			t.join(worker)
			run := t.claim(worker, 1)[0]
			left, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: worker, Seq: 1, Max: 1})
			if err != nil || !slices.Equal(ids(left.Tasks), []string{id}) || left.Tasks[0].Reason != reason {
				t.Errorf("after %q: %+v, %v", reason, left, err)
			}
			back := change(run, task.StatusQueued)
			back.Reclaimed = true
			t.mustApply(back)
		}
	}},
}

// counts checks how many suspects wait and run according to Count.
func (t *T) counts(waiting, running int) {
	t.Helper()
	got, err := t.Store.Count(t.Context(), task.CountQuery{})
	if err != nil || got.SuspectsWaiting != waiting || got.SuspectsRunning != running {
		t.Errorf("%d suspects wait and %d run, %v; want %d and %d", got.SuspectsWaiting, got.SuspectsRunning, err, waiting, running)
	}
}

// suspects creates a suspect of each of some groups, with the worker w.
func (t *T) suspects(groups ...task.Suspicion) (all []string) {
	t.Helper()
	for i, group := range groups {
		all = append(all, t.suspect(group, i))
	}
	return all
}

// suspect creates one; the larger its place, the later it is claimed.
func (t *T) suspect(group task.Suspicion, place int, alter ...func(*task.NewTask)) string {
	t.Helper()
	id := t.add(alter...)
	c := change(t.claimSuspect("w", id), task.StatusInterrupted)
	c.Counters.CrashStreak, c.Counters.Suspicion, c.Delay = 2, group, placed(place)
	t.mustApply(c)
	return id
}

// crashed adds a task with some crashes in a row. Two of them make it a suspect.
func (t *T) crashed(n int) string {
	t.Helper()
	id := t.add()
	if n > 0 {
		c := change(t.claimSuspect("maker", id), task.StatusInterrupted)
		c.Counters.CrashStreak = n
		if n > 1 {
			c.Counters.Suspicion = task.Suspicion(n)
		}
		t.mustApply(c)
	}
	return id
}

// placed returns a delay that puts a task behind those of smaller places, and is over.
func placed(place int) time.Duration { return time.Duration(place-1000) * time.Second }

// claimSuspect claims a certain task, which may be a suspect.
func (t *T) claimSuspect(worker, id string) task.Task {
	t.Helper()
	c := t.get(id)
	req := request(worker, 1)
	req.Suspects, req.Suspicion = 1, c.Suspicion
	all, err := t.Store.Find(t.Context(), task.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range all {
		if other.ID != id && other.Status.Claimable() {
			req.Except = append(req.Except, other.ID)
		}
	}
	got, err := t.Store.Claim(t.Context(), req)
	if err != nil || len(got) != 1 || got[0].ID != id {
		t.Fatalf("claimed %v, %v; want %s", ids(got), err, id)
	}
	return got[0]
}
