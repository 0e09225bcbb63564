package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// ask gives a command for a task.
func (t *T) ask(verb task.Verb, id string) error {
	t.Helper()
	return t.Store.Control(t.Context(), task.Command{Verb: verb, Task: id})
}

func (t *T) mustAsk(verb task.Verb, id string) {
	t.Helper()
	if err := t.ask(verb, id); err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
}

// wantErr complains unless err is the wanted one, which may be nil.
func (t *T) wantErr(what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// keyed adds a task with a key and returns the result.
func (t *T) keyed(kind, key string) task.AddResult {
	t.Helper()
	added, err := t.Store.Add(t.Context(), []task.NewTask{{ID: t.id(), Kind: kind, Queue: "default", Key: key}})
	if err != nil {
		t.Fatalf("Add: %v", err)
	}
	return added[0]
}

var controlRules = []rule{
	{"21", "a key is held by one unfinished task of its kind", func(t *T) {
		first := t.keyed("k", "one")
		for kind, want := range map[string]bool{"k": true, "other": false} {
			if got := t.keyed(kind, "one"); (got.Outcome == task.OutcomeExisting) != want || want && got.ID != first.ID {
				t.Errorf("the key again, kind %s: %+v, first %+v", kind, got, first)
			}
		}
		if got := t.keyed("k", "two"); got.Outcome == task.OutcomeExisting {
			t.Errorf("another key: %+v", got)
		}
		if got := t.get(first.ID); got.Key != "one" {
			t.Errorf("key is %q", got.Key)
		}
		t.join("w")
		t.mustApply(change(t.claim("w", 1)[0], task.StatusInterrupted))
		if got := t.keyed("k", "one"); got.Outcome != task.OutcomeExisting || got.ID != first.ID {
			t.Errorf("while it is interrupted: %+v", got)
		}
		t.mustApply(change(t.claim("w", 1)[0], task.StatusSucceeded))
		next := t.keyed("k", "one")
		if next.Outcome == task.OutcomeExisting {
			t.Errorf("after its end: %+v", next)
		}
		t.mustAsk(task.VerbCancel, next.ID)
		if got := t.keyed("k", "one"); got.Outcome == task.OutcomeExisting {
			t.Errorf("after a cancellation: %+v", got)
		}
		t.wantErr("retry of a task whose key is another's", t.ask(task.VerbRetry, next.ID), task.ErrKeyBusy)
	}},
	{"22", "no claim takes a task of a paused queue", func(t *T) {
		t.join("w")
		red, blue := t.add(func(n *task.NewTask) { n.Queue = "red" }), t.add(func(n *task.NewTask) { n.Queue = "blue" })
		steer := func(verb task.Verb) {
			if err := t.Store.Control(t.Context(), task.Command{Verb: verb, Queue: "red"}); err != nil {
				t.Fatalf("%s: %v", verb, err)
			}
		}
		steer(task.VerbPause)
		steer(task.VerbPause)
		if counts, err := t.Store.Count(t.Context(), task.CountQuery{}); err != nil || !slices.Equal(counts.Paused, []string{"red"}) {
			t.Errorf("paused queues %v, %v", counts.Paused, err)
		}
		if got := ids(t.claim("w", 10)); !slices.Equal(got, []string{blue}) {
			t.Errorf("claimed %v, want %s", got, blue)
		}
		steer(task.VerbResume)
		if got := ids(t.claim("w", 10)); !slices.Equal(got, []string{red}) {
			t.Errorf("claimed %v, want %s", got, red)
		}
	}},
	{"22", "a claim takes only the queues that it names, and not what it excepts", func(t *T) {
		t.join("w")
		queue := func(q string) string { return t.add(func(n *task.NewTask) { n.Queue = q }) }
		red, blue, spared := queue("red"), queue("blue"), queue("red")
		req := request("w", 10)
		req.Queues, req.Except = []string{"red", "green"}, []string{spared}
		got, err := t.Store.Claim(t.Context(), req)
		if err != nil || !slices.Equal(ids(got), []string{red}) || got[0].Queue != "red" {
			t.Errorf("claimed %v, %v; want %s and not %s, %s", ids(got), err, red, blue, spared)
		}
	}},
	{"23", "Cancel ends a task that waits, and is remembered with a run", func(t *T) {
		waiting := t.add()
		t.mustAsk(task.VerbCancel, waiting)
		t.mustAsk(task.VerbCancel, waiting)
		if got := t.get(waiting); got.Status != task.StatusCancelled || got.Finished.IsZero() {
			t.Errorf("%+v", got)
		}
		late := t.add(func(n *task.NewTask) { n.Delay = time.Hour })
		t.mustAsk(task.VerbCancel, late)
		for i, status := range []task.Status{task.StatusInterrupted, task.StatusQueued, task.StatusSucceeded, task.StatusFailed} {
			w := string(rune('a' + i))
			c := t.run(w)
			t.mustAsk(task.VerbCancel, c.ID)
			if got := t.get(c.ID); got.Status != task.StatusRunning {
				t.Fatalf("asked, a run is %s", got.Status)
			}
			t.mustApply(change(c, status))
			want := task.StatusCancelled
			if !status.Claimable() {
				want = status
				t.wantErr("cancel of a "+string(status)+" task", t.ask(task.VerbCancel, c.ID), task.ErrAlreadyFinished)
			}
			if got := t.get(c.ID); got.Status != want || got.Finished.IsZero() {
				t.Errorf("%s after a cancellation was asked for: %s, want %s", status, got.Status, want)
			}
			t.wantErr("the same end again", t.apply(change(c, status)), nil)
			if got := t.claim(w, 10); len(got) > 0 {
				t.Errorf("claimed %v", ids(got))
			}
		}
		t.wantErr("cancel of nothing", t.ask(task.VerbCancel, t.id()), task.ErrNotFound)
	}},
	{"23", "a reclaimed run of a cancelled task ends as cancelled", func(t *T) {
		c := t.run("w")
		t.mustAsk(task.VerbCancel, c.ID)
		taken := change(c, task.StatusInterrupted)
		taken.Reclaimed, taken.Reason = true, task.ReasonLost
		t.mustApply(taken)
		if got := t.get(c.ID); got.Status != task.StatusCancelled || got.Reason != "" {
			t.Errorf("%s, reason %q", got.Status, got.Reason)
		}
	}},
	{"24", "Retry makes a task claimable at once, with all its attempts", func(t *T) {
		c := t.run("w")
		failed := change(c, task.StatusFailed)
		failed.Counters = task.Counters{Attempts: 5, Interruptions: 4, Crashes: 3, CrashStreak: 2, InterruptStreak: 1}
		t.wantErr("retry of a running task", t.ask(task.VerbRetry, c.ID), task.ErrRunning)
		t.mustApply(failed)
		t.mustAsk(task.VerbRetry, c.ID)
		got := t.get(c.ID)
		if want := (task.Counters{Interruptions: 4, Crashes: 3}); got.Status != task.StatusQueued || got.Counters != want || !got.Finished.IsZero() {
			t.Errorf("%s, %+v, finished %v", got.Status, got.Counters, got.Finished)
		}
		again := t.claim("w", 1)
		if len(again) != 1 || again[0].Runs != 2 {
			t.Fatalf("claimed %+v", again)
		}
		waits := change(again[0], task.StatusQueued)
		waits.Delay = time.Hour
		t.mustApply(waits)
		t.mustAsk(task.VerbRetry, c.ID)
		last := t.claim("w", 1)
		if len(last) != 1 {
			t.Fatal("a task whose waiting was cut short cannot be claimed")
		}
		t.mustApply(change(last[0], task.StatusSucceeded))
		t.wantErr("retry of a succeeded task", t.ask(task.VerbRetry, c.ID), task.ErrAlreadyFinished)
		t.wantErr("retry of nothing", t.ask(task.VerbRetry, t.id()), task.ErrNotFound)
		cancelled := t.add()
		t.mustAsk(task.VerbCancel, cancelled)
		t.mustAsk(task.VerbRetry, cancelled)
		if got := ids(t.claim("w", 10)); !slices.Equal(got, []string{cancelled}) {
			t.Errorf("claimed %v, want %s", got, cancelled)
		}
	}},
	{"25", "every reply to a beat has the commands until the run has ended", func(t *T) {
		c := t.run("w")
		f := change(c, "").Fence
		beat := func(seq uint64, want ...task.PendingCommand) {
			t.Helper()
			reply, err := t.beat("w", seq, task.WorkerRunning)
			if err != nil || !slices.Equal(reply.Commands, want) {
				t.Errorf("beat %d: asked %+v, %v, want %+v", seq, reply.Commands, err, want)
			}
		}
		beat(2)
		t.mustAsk(task.VerbInterrupt, c.ID)
		t.mustAsk(task.VerbInterrupt, c.ID)
		beat(3, task.PendingCommand{Fence: f, Verb: task.VerbInterrupt})
		beat(3, task.PendingCommand{Fence: f, Verb: task.VerbInterrupt})
		t.mustAsk(task.VerbCancel, c.ID)
		t.mustAsk(task.VerbInterrupt, c.ID)
		beat(4, task.PendingCommand{Fence: f, Verb: task.VerbCancel})
		t.mustApply(change(c, task.StatusCancelled))
		beat(5)
		t.wantErr("interrupt of an ended task", t.ask(task.VerbInterrupt, c.ID), task.ErrNotRunning)
		t.wantErr("interrupt of a waiting task", t.ask(task.VerbInterrupt, t.add()), task.ErrNotRunning)
		t.wantErr("interrupt of nothing", t.ask(task.VerbInterrupt, t.id()), task.ErrNotFound)
	}},
	{"25", "a waiting call hears that something was asked of a run", func(t *T) {
		c := t.run("w")
		before, err := t.Store.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		t.mustAsk(task.VerbInterrupt, c.ID)
		for now := before; now.Commands == before.Commands; {
			if now, err = t.Store.Wait(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
	}},
}
