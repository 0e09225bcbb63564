package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// bounded gives a new task a StartBefore.
func bounded(d time.Duration) func(*task.NewTask) {
	return func(n *task.NewTask) { n.StartBefore = d }
}

// soon is a StartBefore that is soon over.
const soon = 5 * time.Millisecond

// until waits until a condition is true.
func (t *T) until(what string, so func() bool) {
	t.Helper()
	for !so() {
		if t.Context().Err() != nil {
			t.Fatalf("it never came that %s", what)
		}
		t.tick()
	}
}

// expired waits until tasks have expired.
func (t *T) expired(all ...string) {
	t.Helper()
	for _, id := range all {
		deadline := time.Now().Add(10 * time.Second)
		t.until("a task expires", func() bool { return t.get(id).Status == task.StatusCancelled || time.Now().After(deadline) })
		got := t.get(id)
		if got.Status != task.StatusCancelled || got.Reason != task.ReasonExpired || got.Runs != 0 || got.Finished.IsZero() || !got.StartBefore.IsZero() || !got.Started.IsZero() {
			t.Fatalf("a task that was not claimed in time: %+v", got)
		}
	}
}

var expireRules = []rule{
	{"43", "a task that was not claimed in time never is, and is cancelled with what belongs to it", func(t *T) {
		t.join("w")
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: "paused"}); err != nil {
			t.Fatal(err)
		}
		keyed := t.add(bounded(soon), func(n *task.NewTask) { n.Key = "key" })
		paused := t.add(bounded(soon), prioritized("paused", 0))
		delayed := t.add(bounded(soon), func(n *task.NewTask) { n.Delay = time.Millisecond })
		plain := t.add()
		t.expired(keyed, paused, delayed)
		if got := ids(t.claim("w", 10)); !slices.Equal(got, []string{plain}) {
			t.Errorf("claimed %v, want %s", got, plain)
		}
		t.until("the listing knows", func() bool { return len(t.found(task.Query{Status: task.StatusCancelled})) == 3 })
		t.until("the key is free", func() bool { return t.keyed("k", "key").Outcome == task.OutcomeAdded })
		t.count("default k queued", 1, "default k running", 1, "default k cancelled", 2, "paused k cancelled", 1)
		if runs, err := t.Store.History(t.Context(), paused); err != nil || len(runs) != 0 {
			t.Errorf("runs %+v, %v", runs, err)
		}
		t.tick()
		if n := t.prune(0, 2); n != 3 {
			t.Errorf("%d tasks pruned, want 3", n)
		}
	}},
	{"43", "until then it is claimed as others are, and has no bound from then on", func(t *T) {
		t.join("w")
		first, second, third := t.add(), t.add(bounded(time.Hour)), t.add()
		later := t.add(bounded(time.Hour), func(n *task.NewTask) { n.Delay = time.Minute })
		for _, id := range []string{second, later} {
			if got := t.get(id); !got.StartBefore.Equal(got.Created.Add(time.Hour)) {
				t.Errorf("created %v, to be begun before %v", got.Created, got.StartBefore)
			}
		}
		got := t.claim("w", 10)
		if want := []string{first, second, third}; !slices.Equal(ids(got), want) {
			t.Fatalf("claimed %v, want %v", ids(got), want)
		}
		t.mustApply(change(got[1], task.StatusInterrupted))
		t.mustAsk(task.VerbRetry, later)
		for _, id := range []string{first, second, third} {
			if now := t.get(id); !now.StartBefore.IsZero() {
				t.Errorf("one that has been claimed is to be begun before %v", now.StartBefore)
			}
		}
		if now := t.get(later); now.StartBefore.IsZero() {
			t.Error("one that has not been claimed has no bound any more")
		}
		if again := ids(t.claim("w", 10)); !slices.Equal(again, []string{second, later}) {
			t.Errorf("claimed %v then, want %v", again, []string{second, later})
		}
	}},
	{"43", "commands find a task that has expired as one that is cancelled, and Retry takes the bound away", func(t *T) {
		t.join("w")
		id, other := t.add(bounded(soon)), t.add(bounded(soon))
		t.expired(id, other)
		t.mustAsk(task.VerbCancel, id)
		t.expired(id)
		t.wantErr("interrupt", t.ask(task.VerbInterrupt, id), task.ErrNotRunning)
		// Of a call that is made twice.
		if err := t.ask(task.VerbDelete, other); err != nil && !errors.Is(err, task.ErrNotFound) {
			t.Errorf("delete: %v", err)
		}
		t.mustAsk(task.VerbRetry, id)
		if got := t.get(id); got.Status != task.StatusQueued || got.Reason != "" || !got.StartBefore.IsZero() || !got.Finished.IsZero() {
			t.Errorf("after the retry: %+v", got)
		}
		if got := ids(t.claim("w", 10)); !slices.Equal(got, []string{id}) {
			t.Errorf("claimed %v, want %s", got, id)
		}
	}},
	{"43", "a claim finds what waits behind many that have expired", func(t *T) {
		t.join("w")
		var news []task.NewTask
		for range 300 {
			news = append(news, task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("{}"), StartBefore: soon})
		}
		if _, err := t.Store.Add(t.Context(), news); err != nil {
			t.Fatal(err)
		}
		last := t.add(prioritized("default", -1))
		t.expired(news[0].ID, news[299].ID)
		if got := ids(t.claim("w", 3)); !slices.Equal(got, []string{last}) {
			t.Errorf("claimed %v, want %s", got, last)
		}
	}},
}
