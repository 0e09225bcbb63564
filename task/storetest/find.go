package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// listed returns the tasks of a whole listing, page by page; between is called between two pages.
func (t *T) listed(q task.Query, size int, between func(last string)) (all []task.Task) {
	t.Helper()
	for pages := 0; ; pages++ {
		q.Limit = size
		part, err := t.Store.Find(t.Context(), q)
		more := (*task.MoreError)(nil)
		if err != nil && !errors.As(err, &more) || pages > 1000 {
			t.Fatalf("Find %+v: %v, after %d pages", q, err, pages)
		}
		all = append(all, part...)
		switch {
		case more != nil:
			if more.After == q.After {
				t.Fatalf("Find %+v does not get on: %v", q, err)
			}
			q.After = more.After
		case len(part) < size:
			return all
		default:
			q.After = q.PositionOf(part[len(part)-1]).String()
		}
		if between != nil {
			last := ""
			if len(part) > 0 {
				last = part[len(part)-1].ID
			}
			between(last)
		}
	}
}

// mixed creates tasks with different histories, and returns them, the newest first.
func (t *T) mixed() []task.Task {
	t.Helper()
	t.join("w")
	t.join("v")
	for i := range 30 {
		t.tick()
		t.add(func(n *task.NewTask) {
			n.Queue, n.Kind = []string{"default", "red", "blue"}[i%3], []string{"k", "other"}[i/3%2]
			n.Meta = []map[string]string{nil, {"tenant": "a"}, {"tenant": "b"}}[i/2%3]
		})
	}
	ends := []task.Status{task.StatusSucceeded, task.StatusFailed, task.StatusCancelled, task.StatusInterrupted, task.StatusQueued, task.StatusRunning}
	for i := range 24 {
		worker, kind := []string{"w", "v"}[i%2], []string{"k", "other"}[i/2%2]
		req := request(worker, 1)
		req.Kinds[0].Kind = kind
		got, err := t.Store.Claim(t.Context(), req)
		if err != nil || len(got) != 1 {
			t.Fatalf("claimed %v, %v", ids(got), err)
		}
		t.tick()
		if c := change(got[0], ends[i%len(ends)]); c.Status != task.StatusRunning {
			c.Reason = map[task.Status]task.Reason{task.StatusInterrupted: []task.Reason{task.ReasonStop, task.ReasonLost}[i/6%2]}[c.Status]
			c.Error, c.Delay = []string{"", "boom 100% of_it", "Boom"}[i%3], time.Hour
			t.mustApply(c)
		}
		t.tick()
	}
	all, err := t.Store.Find(t.Context(), task.Query{})
	if err != nil || len(all) != 30 {
		t.Fatalf("%d tasks, %v", len(all), err)
	}
	return all
}

// times returns the times of tasks, sorted.
func times(all []task.Task, of func(task.Task) time.Time) (sorted []time.Time) {
	for _, one := range all {
		if at := of(one); !at.IsZero() {
			sorted = append(sorted, at)
		}
	}
	slices.SortFunc(sorted, time.Time.Compare)
	return sorted
}

// spans returns spans between some of those times.
func spans(all []task.Task, of func(task.Task) time.Time) []task.Span {
	at := times(all, of)
	return []task.Span{{}, {From: at[len(at)/3]}, {To: at[len(at)/2]}, {From: at[len(at)/4], To: at[3*len(at)/4]}}
}

// queries returns a query for each field, and some for two.
func queries(all []task.Task) (qs []task.Query) {
	for _, s := range [][]task.Status{nil, {task.StatusFailed}, {task.StatusFailed, task.StatusCancelled}, {task.StatusSucceeded, task.StatusRunning, task.StatusQueued}, {task.StatusInterrupted, task.StatusQueued}} {
		qs = append(qs, task.Query{Statuses: s}, task.Query{Statuses: s, Kinds: []string{"k", "none"}}, task.Query{Statuses: s, Queues: []string{"blue", "red"}},
			task.Query{Statuses: s, Kind: "other", Queues: []string{"red", "default"}}, task.Query{Statuses: s, Kinds: []string{"k", "other"}, Queue: "red"},
			task.Query{Statuses: s, ErrorText: "boom"}, task.Query{Statuses: s, ErrorText: "% of_", Kind: "k"}, task.Query{Statuses: s, Worker: "v"},
			task.Query{Statuses: s, Meta: map[string]string{"tenant": "a"}}, task.Query{Statuses: s, Reasons: []task.Reason{task.ReasonLost}},
			task.Query{Statuses: s, Reasons: []task.Reason{task.ReasonLost, task.ReasonStop}, Queue: "red"})
		for i := range 4 {
			qs = append(qs, task.Query{Statuses: s, Created: spans(all, func(t task.Task) time.Time { return t.Created })[i]},
				task.Query{Statuses: s, Started: spans(all, func(t task.Task) time.Time { return t.Started })[i]},
				task.Query{Statuses: s, Finished: spans(all, func(t task.Task) time.Time { return t.Finished })[i], Kinds: []string{"k", "other"}})
		}
	}
	if testing.Short() { // every third one
		for i := range len(qs) / 3 {
			qs[i] = qs[3*i+i%3]
		}
		qs = qs[:len(qs)/3]
	}
	return append(qs, task.Query{Status: task.StatusFailed, Statuses: []task.Status{task.StatusCancelled}}, task.Query{Kind: "k", Kinds: []string{"other"}},
		task.Query{Queue: "red", Queues: []string{"red", "blue"}})
}

var findRules = []rule{
	{"18", "only what every field admits is found, in pages of every size", func(t *T) {
		all := t.mixed()
		for i, q := range queries(all) {
			t.wantListed(q, all, 1+i%5)
		}
	}},
	{"52", "in the order of ends the last comes first, with every field, in pages of every size", func(t *T) {
		all := t.mixed()
		slices.SortFunc(all, func(a, b task.Task) int {
			if n := b.Finished.Compare(a.Finished); n != 0 {
				return n
			}
			if a.ID < b.ID {
				return 1
			}
			return -1
		})
		for i, q := range queries(all) {
			q.Order = task.OrderFinished
			t.wantListed(q, all, 1+i%5)
		}
	}},
	{"52", "a page goes on where the last one ended, whatever happens to the tasks", func(t *T) {
		for seed := range uint64(6) {
			t.listWhileTasksMove(rand.New(rand.NewPCG(seed, 1)), []task.Order{task.OrderCreated, task.OrderFinished}[seed%2])
		}
	}},
	{"53", "a query without an index looks at so many tasks, and says where it stopped", func(t *T) {
		all := t.mixed()
		for i, q := range queries(all) {
			q.Look = 1 + i%7
			q.Order = []task.Order{"", task.OrderFinished}[i%2]
			if q.Order != "" {
				continue // the order of ends is compared above
			}
			t.wantListed(q, all, 1+i%3)
		}
		for _, q := range []task.Query{{ErrorText: "nowhere"}, {Worker: "nobody"}, {Meta: map[string]string{"tenant": "z"}}, {Reasons: []task.Reason{task.ReasonFrozen}}} {
			q.Look = 10
			found, err := t.Store.Find(t.Context(), q)
			if more := (*task.MoreError)(nil); !errors.As(err, &more) || len(found) > 0 {
				t.Errorf("%+v: found %v, %v: want a MoreError after ten of thirty tasks", q, ids(found), err)
			}
			if got := t.listed(q, 3, nil); len(got) > 0 {
				t.Errorf("%+v: found %v", q, ids(got))
			}
		}
	}},
}

// wantListed compares a listing in pages with those of all tasks that the query matches.
func (t *T) wantListed(q task.Query, all []task.Task, size int) {
	t.Helper()
	var want []string
	for _, one := range all {
		if q.Admits(one) {
			want = append(want, one.ID)
		}
	}
	if got := ids(t.listed(q, size, nil)); !slices.Equal(got, want) {
		t.Errorf("%+v, in pages of %d: %v, want %v", q, size, got, want)
	}
	q.Brief = true
	brief := t.listed(q, size, nil)
	if got := ids(brief); !slices.Equal(got, want) {
		t.Errorf("%+v, in brief, in pages of %d: %v, want %v", q, size, got, want)
	}
	for _, got := range brief {
		i := slices.IndexFunc(all, func(one task.Task) bool { return one.ID == got.ID })
		if i < 0 || got.Status != all[i].Status || !got.Created.Equal(all[i].Created) || !got.Since.Equal(all[i].Since) || !got.Finished.Equal(all[i].Finished) {
			t.Errorf("%+v, in brief: %+v", q, got)
		}
	}
}

// listWhileTasksMove lists cancelled tasks while some are retried, cancelled, deleted and added.
func (t *T) listWhileTasksMove(r *rand.Rand, order task.Order) {
	t.Helper()
	left := make(map[string]bool) // those that are not touched
	var all []string
	for i := range 30 {
		t.tick()
		all = append(all, t.addAs(random(1000*int(r.Int32N(1_000_000))+i)))
	}
	for i, id := range all {
		if r.IntN(4) > 0 {
			t.mustAsk(task.VerbCancel, id)
		}
		left[id] = i%3 == 0 && t.get(id).Status == task.StatusCancelled
	}
	move := func(last string) {
		for i := range r.IntN(4) {
			id := all[r.IntN(len(all))]
			if i == 0 {
				id = last // behind which the listing goes on
			}
			if left[id] || id == "" {
				continue
			}
			for _, verb := range [][]task.Verb{{task.VerbRetry}, {task.VerbCancel}, {task.VerbRetry, task.VerbCancel}, {task.VerbDelete}}[r.IntN(4)] {
				t.tick()
				_ = t.ask(verb, id) // the command may not fit its status
			}
			if r.IntN(3) == 0 {
				made := t.addAs(random(1000*int(r.Int32N(1_000_000)) + len(all)))
				all = append(all, made)
				t.mustAsk(task.VerbCancel, made)
			}
		}
	}
	times := make(map[string]int)
	for _, got := range t.listed(task.Query{Status: task.StatusCancelled, Order: order}, 1+r.IntN(4), move) {
		if times[got.ID]++; times[got.ID] > 1 {
			t.Errorf("in the order of %s, %s is there %d times", order, got.ID, times[got.ID])
		}
	}
	for id, untouched := range left {
		if untouched && times[id] != 1 {
			t.Errorf("in the order of %s, %s, which was cancelled all the time, is there %d times", order, id, times[id])
		}
	}
	for _, id := range all { // for the next one
		_ = t.ask(task.VerbCancel, id)
		_ = t.ask(task.VerbDelete, id)
	}
}

// standing returns a task as a listing shows it.
func (t *T) standing(id string) task.Standing {
	t.Helper()
	got := t.get(id)
	return task.Standing{ID: id, Status: got.Status, Created: got.Created, Since: got.Since}
}

// askAll applies a command to tasks, and checks the error for each.
func (t *T) askAll(verb task.Verb, seen []task.Standing, want ...error) {
	t.Helper()
	errs := t.Store.ControlAll(t.Context(), task.Command{Verb: verb, By: "ops", Reason: "because"}, seen)
	if len(errs) != len(want) {
		t.Fatalf("%s all answered %v for %d tasks", verb, errs, len(want))
	}
	for i, err := range errs {
		t.wantErr(fmt.Sprintf("%s all, of the task %d", verb, i), err, want[i])
	}
}

// failed creates a task that has failed.
func (t *T) failed(change1 ...func(*task.NewTask)) string {
	t.Helper()
	id := t.add(change1...)
	t.tick()
	for _, c := range t.claim("w", 1) {
		c1 := change(c, task.StatusFailed)
		c1.Error, c1.Log, c1.Checkpoint = "boom", []byte("log"), []byte("saved")
		c1.Counters.Attempts = 3
		t.mustApply(c1)
	}
	return id
}
