package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// nilUUID is smaller than every other id.
const nilUUID = "00000000-0000-0000-0000-000000000000"

// random returns an id of version 4, the same for the same n, in no order.
func random(n int) string {
	return fmt.Sprintf("%08x-5eed-4000-8000-%012d", uint32(n)*2654435761, n)
}

// timed returns an id of version 7 with the present time.
func (t *T) timed() string {
	t.Helper()
	n, err := task.Prepare("k", []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}

// addAs adds a task with a given id, after the clock has moved.
func (t *T) addAs(id string, change ...func(*task.NewTask)) string {
	t.Helper()
	t.tick()
	return t.add(append(change, func(n *task.NewTask) { n.ID = id })...)
}

// found returns the ids of the tasks that Find returns.
func (t *T) found(q task.Query) []string {
	t.Helper()
	got, err := t.Store.Find(t.Context(), q)
	if err != nil {
		t.Fatalf("Find %+v: %v", q, err)
	}
	return ids(got)
}

// pages returns the ids of a whole listing, a few at a time.
func (t *T) pages(q task.Query, size int) (all []string) {
	t.Helper()
	for q.Limit = size; ; {
		part := t.found(q)
		all = append(all, part...)
		if len(part) < size || len(all) > 1000 {
			return all
		}
		q.After = part[len(part)-1]
	}
}

// end ends a task now, and lets the clock move.
func (t *T) end(id string) {
	t.Helper()
	t.mustAsk(task.VerbCancel, id)
	t.tick()
}

var orderRules = []rule{
	{"18", "the order is that of creation, whatever the ids, and a listing goes on in it", func(t *T) {
		var all, odd []string
		for n := range 12 {
			kind := []string{"k", "other"}[n%2]
			id := random(n)
			if n%5 == 4 {
				id = t.timed()
			}
			all = append(all, t.addAs(id, func(n *task.NewTask) { n.Kind = kind }))
			if kind == "other" {
				odd = append(odd, id)
			}
		}
		all = append(all, t.addAs(nilUUID))
		slices.Reverse(all)
		slices.Reverse(odd)
		for size := range 5 {
			if got := t.pages(task.Query{}, size+1); !slices.Equal(got, all) {
				t.Errorf("in pages of %d: %v, want %v", size+1, got, all)
			}
			if got := t.pages(task.Query{Kind: "other"}, size+1); !slices.Equal(got, odd) {
				t.Errorf("in pages of %d, of one kind: %v, want %v", size+1, got, odd)
			}
		}
		if got := t.found(task.Query{After: all[2], Kind: "other"}); !slices.Equal(got, odd[1:]) {
			t.Errorf("behind a task of another kind: %v, want %v", got, odd[1:])
		}
	}},
	{"18", "tasks of one moment are in the order of their ids, the larger one first", func(t *T) {
		var news []task.NewTask
		for n := range 20 {
			news = append(news, task.NewTask{ID: random(n), Kind: "k", Queue: "default"})
		}
		if _, err := t.Store.Add(t.Context(), news); err != nil {
			t.Fatal(err)
		}
		found, err := t.Store.Find(t.Context(), task.Query{})
		if err != nil || len(found) != len(news) {
			t.Fatalf("%d found, %v", len(found), err)
		}
		for i, next := range found[1:] {
			if last := found[i]; next.Created.After(last.Created) || next.Created.Equal(last.Created) && next.ID > last.ID {
				t.Errorf("%s of %v comes behind %s of %v", next.ID, next.Created, last.ID, last.Created)
			}
		}
		if got := t.pages(task.Query{}, 7); !slices.Equal(got, ids(found)) {
			t.Errorf("in pages %v, want %v", got, ids(found))
		}
	}},
	{"18", "a listing goes on behind a task that is gone, by the time in its id", func(t *T) {
		older := t.addAs(t.timed())
		t.tick()
		gone := t.addAs(t.timed())
		newer := t.addAs(t.timed())
		odd := t.addAs(random(1))
		t.end(gone)
		t.end(odd)
		if n := t.prune(0, 10); n != 2 {
			t.Fatalf("%d tasks removed, want 2", n)
		}
		if got := t.found(task.Query{}); !slices.Equal(got, []string{newer, older}) {
			t.Fatalf("left: %v", got)
		}
		if got := t.found(task.Query{After: gone}); !slices.Equal(got, []string{older}) {
			t.Errorf("behind the task that is gone: %v, want %s", got, older)
		}
		for _, id := range []string{odd, nilUUID, random(2)} {
			_, err := t.Store.Find(t.Context(), task.Query{After: id})
			t.wantErr("behind "+id+", which has no time and is not there", err, task.ErrNotFound)
		}
	}},
	{"29", "those that ended first go first, whatever their ids, and no young task stops it", func(t *T) {
		young := t.addAs(nilUUID)
		made := []string{t.addAs(random(1)), t.addAs(t.timed()), t.addAs(random(2)), t.addAs(t.timed()), t.addAs(random(3)),
			t.addAs("ffffffff-ffff-ffff-ffff-ffffffffffff"), t.addAs("6ba7b810-9dad-11d1-80b4-00c04fd430c8")}
		var order []string // in which they end, another one than that of their creation
		for i := range made {
			order = append(order, made[i*3%len(made)])
			t.end(order[i])
		}
		for req := (task.PruneRequest{Max: 2}); ; {
			done, err := t.Store.Prune(t.Context(), req)
			if err != nil || done.Tasks > 4 { // two calls of two
				t.Fatalf("Prune: %+v, %v", done, err)
			}
			left := t.found(task.Query{Status: task.StatusCancelled})
			for i, id := range order {
				if gone := i < len(order)-len(left); gone == slices.Contains(left, id) {
					t.Fatalf("left are %v of %v, in the order of their ends", left, order)
				}
			}
			if req.After = done.Next; done.Next == "" {
				break
			}
		}
		if got := t.found(task.Query{}); !slices.Equal(got, []string{young}) {
			t.Fatalf("left: %v, want %s", got, young)
		}
		t.end(young)
		if n := t.prune(0, 2); n != 1 || len(t.found(task.Query{})) != 0 {
			t.Errorf("%d removed, left %v", n, t.found(task.Query{}))
		}
	}},
	{"29", "of the store's clock and the caller's the one that is behind counts", func(t *T) {
		t.end(t.add())
		for what, req := range map[string]task.PruneRequest{
			"the caller's is behind":    {Clock: time.Now().Add(-2 * time.Hour), Age: time.Hour},
			"the caller's, without age": {Clock: time.Now().Add(-2 * time.Hour)},
			"the store's is behind":     {Clock: time.Now().Add(1000 * time.Hour), Age: time.Hour},
			"there is only the store's": {Age: time.Hour},
		} {
			req.Max = 10
			if done, err := t.Store.Prune(t.Context(), req); err != nil || done.Tasks != 0 || done.Next != "" {
				t.Errorf("%s, and a task that has just ended: %+v, %v", what, done, err)
			}
		}
		done, err := t.Store.Prune(t.Context(), task.PruneRequest{Clock: time.Now().Add(1000 * time.Hour), Max: 10})
		if err != nil || done.Tasks != 1 {
			t.Errorf("by both clocks it is old: %+v, %v", done, err)
		}
	}},
}

// addAll adds tasks in one call, and checks the result for each: the id that counts, and the
// outcome.
func (t *T) addAll(news []task.NewTask, want []task.AddResult) {
	t.Helper()
	added, err := t.Store.Add(t.Context(), news)
	if err != nil || !slices.Equal(added, want) {
		t.Fatalf("Add answered %+v, %v, want %+v", added, err, want)
	}
}

// wasThere returns the result for a task that existed, or did not.
func wasThere(there bool) task.Outcome {
	if there {
		return task.OutcomeExisting
	}
	return task.OutcomeAdded
}

// news returns new tasks of a kind with the given keys.
func (t *T) news(keys ...string) (news []task.NewTask) {
	for _, key := range keys {
		news = append(news, task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Key: key, Payload: []byte(key)})
	}
	return news
}

var batchRules = []rule{
	{"21", "tasks with keys and without come together, and a key that is held holds up no other", func(t *T) {
		holder := t.keyed("k", "held").ID
		news := t.news("", "held", "free", "", "other", "held")
		news[4].Kind, news[4].Key = "other", "held" // of another kind
		news[3].Delay = time.Hour
		want := make([]task.AddResult, len(news))
		for i, n := range news {
			want[i].ID = n.ID
		}
		want[1], want[5] = task.AddResult{ID: holder, Outcome: task.OutcomeExisting}, task.AddResult{ID: holder, Outcome: task.OutcomeExisting}
		t.addAll(news, want)
		t.count("default k queued", 4, "default other queued", 1)
		if got := t.get(news[2].ID); got.Key != "free" || string(got.Payload) != "free" {
			t.Errorf("%+v", got)
		}
		if got := t.keyed("k", "free"); got.Outcome != task.OutcomeExisting || got.ID != news[2].ID {
			t.Errorf("its key again: %+v", got)
		}
		t.join("w")
		if got := t.claim("w", 10); len(got) != 3 {
			t.Errorf("claimed %v: want the holder and the two that do not wait", ids(got))
		}
	}},
	{"21", "of those that have one key in a call the first one gets it", func(t *T) {
		news := t.news("a", "b", "a", "a", "b")
		news[4].Kind = "other"
		first := task.AddResult{ID: news[0].ID, Outcome: task.OutcomeExisting}
		t.addAll(news, []task.AddResult{{ID: news[0].ID}, {ID: news[1].ID}, first, first, {ID: news[4].ID}})
		t.count("default k queued", 2, "default other queued", 1)
		t.mustAsk(task.VerbCancel, news[0].ID)
		if got := t.keyed("k", "a"); got.Outcome == task.OutcomeExisting {
			t.Errorf("after the end of its holder the key is %+v", got)
		}
	}},
	{"1", "of those that have one id in a call the first one is added", func(t *T) {
		news := t.news("", "a", "", "", "b")
		for i, of := range map[int]int{2: 0, 3: 1, 4: 1} {
			news[i].ID, news[i].Payload, news[i].Queue = news[of].ID, news[of].Payload, "second"
		}
		plain, keyed := news[0].ID, news[1].ID
		t.addAll(news, []task.AddResult{{ID: plain}, {ID: keyed}, {ID: plain, Outcome: task.OutcomeExisting}, {ID: keyed, Outcome: task.OutcomeExisting}, {ID: keyed, Outcome: task.OutcomeExisting}})
		t.count("default k queued", 2)
		if got := t.get(keyed); got.Key != "a" || got.Queue != "default" {
			t.Errorf("%+v", got)
		}
		if got := t.keyed("k", "b"); got.Outcome == task.OutcomeExisting {
			t.Errorf("the key of a task that was not added is held by %s", got.ID)
		}
	}},
	{"1", "a task that exists does not take another key", func(t *T) {
		n := t.news("one")[0]
		t.addAll([]task.NewTask{n}, []task.AddResult{{ID: n.ID}})
		again := n
		again.Key = "two"
		t.addAll([]task.NewTask{again}, []task.AddResult{{ID: n.ID, Outcome: task.OutcomeExisting}})
		if got := t.keyed("k", "two"); got.Outcome == task.OutcomeExisting {
			t.Errorf("the other key is held by %s", got.ID)
		}
	}},
	{"11", "many checkpoints come in one call, each is kept, and each has its own answer", func(t *T) {
		t.join("w")
		const runs = 200
		for range runs {
			t.add()
		}
		got := t.claim("w", runs)
		saves := make([]task.Change, len(got))
		for i, c := range got {
			saves[i] = change(c, task.StatusRunning)
			saves[i].Checkpoint = []byte(c.ID)
			saves[i].Counters.InterruptStreak = i
			if i%10 == 5 {
				saves[i].Run--
			}
		}
		for i, err := range t.Store.Apply(t.Context(), saves) {
			want := error(nil)
			if i%10 == 5 {
				want = task.ErrLeaseLost
			}
			t.wantErr("save", err, want)
		}
		found, err := t.Store.Find(t.Context(), task.Query{Status: task.StatusRunning, Limit: runs + 1})
		if err != nil || len(found) != runs {
			t.Fatalf("%d run, %v", len(found), err)
		}
		for i, c := range found {
			i = runs - 1 - i // the newest first
			want, streak := c.ID, i
			if i%10 == 5 {
				want, streak = "", 0
			}
			if string(c.Checkpoint) != want || c.InterruptStreak != streak {
				t.Errorf("task %s has the checkpoint %q and the streak %d, want %q and %d", c.ID, c.Checkpoint, c.InterruptStreak, want, streak)
			}
		}
	}},
	{"30", "a repeated end is counted once, and what is pruned not at all", func(t *T) {
		t.join("w")
		for range 4 {
			t.add()
		}
		for i, c := range t.claim("w", 4) {
			end := change(c, []task.Status{task.StatusSucceeded, task.StatusFailed, task.StatusInterrupted, task.StatusSucceeded}[i])
			for range 3 {
				t.mustApply(end)
			}
		}
		t.count("default k interrupted", 1, "default k succeeded", 2, "default k failed", 1)
		for _, c := range t.claim("w", 1) {
			for range 2 {
				t.mustApply(change(c, task.StatusCancelled))
			}
		}
		t.count("default k succeeded", 2, "default k failed", 1, "default k cancelled", 1)
		t.tick()
		if n := t.prune(0, 1); n != 4 {
			t.Errorf("%d tasks removed, want 4", n)
		}
		t.count()
	}},
}
