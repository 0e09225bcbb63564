package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var bulkRules = []rule{
	{"54", "each task that stands as it was seen is retried, as Retry does it, and no other", func(t *T) {
		t.join("w")
		one, two, three := t.failed(), t.failed(), t.failed()
		waits, cancelled := t.add(func(n *task.NewTask) { n.Delay = time.Hour }), t.add(func(n *task.NewTask) { n.Delay = time.Hour })
		t.mustAsk(task.VerbCancel, cancelled)
		var seen []task.Standing
		for _, id := range []string{one, two, three, waits, cancelled} {
			seen = append(seen, t.standing(id))
		}
		t.tick()
		t.mustAsk(task.VerbRetry, two) // it fails again
		t.mustApply(change(t.claim("w", 1)[0], task.StatusFailed))
		t.mustAsk(task.VerbDelete, three)
		t.askAll(task.VerbRetry, seen, nil, task.ErrChanged, task.ErrChanged, nil, nil)
		got := t.get(one)
		if got.Status != task.StatusQueued || got.Attempts != 0 || !got.Finished.IsZero() || string(got.Checkpoint) != "saved" || got.Runs != 1 || got.Error != "boom" {
			t.Errorf("%+v", got)
		}
		if history, err := t.Store.History(t.Context(), one); err != nil || len(history) != 1 || history[0].Status != task.StatusFailed || history[0].Error != "boom" {
			t.Errorf("history %+v, %v", history, err)
		}
		if body, err := t.Store.Log(t.Context(), one); err != nil || string(body) != "log" {
			t.Errorf("log %q, %v", body, err)
		}
		t.count("default k queued", 3, "default k failed", 1)
		again := slices.Delete(slices.Clone(seen), 3, 4) // what waits is what it was
		t.askAll(task.VerbRetry, again, task.ErrChanged, task.ErrChanged, task.ErrChanged, task.ErrChanged)
		claimed := ids(t.claim("w", 10))
		slices.Sort(claimed)
		if want := []string{one, waits, cancelled}; !slices.Equal(claimed, want) {
			t.Errorf("claimed %v, want %v", claimed, want)
		}
	}},
	{"54", "of those with one key one is retried, and none whose key is held", func(t *T) {
		t.join("w")
		key := func(n *task.NewTask) { n.Key = "key" }
		seen := []task.Standing{t.standing(t.failed(key)), t.standing(t.failed(key)), t.standing(t.failed())}
		t.askAll(task.VerbRetry, seen, nil, task.ErrKeyBusy, nil)
		if got := t.keyed("k", "key"); got.Outcome != task.OutcomeExisting || got.ID != seen[0].ID {
			t.Errorf("the key is %+v", got)
		}
		t.askAll(task.VerbRetry, seen[1:2], task.ErrKeyBusy)
		if got := t.get(seen[1].ID); got.Status != task.StatusFailed {
			t.Errorf("it is %s", got.Status)
		}
	}},
	{"54", "each task that stands as it was seen is cancelled, interrupted or deleted, and no other", func(t *T) {
		t.join("w")
		runs := t.add(func(n *task.NewTask) { n.Key = "runs" })
		t.claim("w", 1)
		waits, later := t.add(func(n *task.NewTask) { n.Key = "waits" }), t.add(func(n *task.NewTask) { n.Delay = time.Hour })
		moved := t.add()
		seen := []task.Standing{t.standing(runs), t.standing(waits), t.standing(later), t.standing(moved), {ID: t.id(), Status: task.StatusQueued}}
		t.mustAsk(task.VerbCancel, moved)
		t.askAll(task.VerbInterrupt, seen, nil, task.ErrChanged, task.ErrChanged, task.ErrChanged, task.ErrChanged)
		t.askAll(task.VerbDelete, seen, task.ErrChanged, task.ErrChanged, task.ErrChanged, task.ErrChanged, task.ErrChanged)
		reply, err := t.beat("w", 2, task.WorkerRunning)
		if err != nil || len(reply.Commands) != 1 || reply.Commands[0].Verb != task.VerbInterrupt {
			t.Errorf("asked %+v, %v", reply.Commands, err)
		}
		t.askAll(task.VerbCancel, seen, nil, nil, nil, task.ErrChanged, task.ErrChanged)
		t.count("default k running", 1, "default k cancelled", 3)
		reply, err = t.beat("w", 3, task.WorkerRunning)
		if err != nil || len(reply.Commands) != 1 || reply.Commands[0].Verb != task.VerbCancel {
			t.Errorf("asked %+v, %v", reply.Commands, err)
		}
		if got := t.keyed("k", "waits"); got.Outcome == task.OutcomeExisting {
			t.Errorf("the key of a cancelled task is %s's", got.ID)
		}
		ended := []task.Standing{t.standing(waits), t.standing(later), t.standing(moved), t.standing(runs)}
		t.askAll(task.VerbDelete, ended, nil, nil, nil, task.ErrChanged)
		t.askAll(task.VerbDelete, ended, task.ErrChanged, task.ErrChanged, task.ErrChanged, task.ErrChanged)
		for _, s := range ended[:3] {
			t.gone(s.ID)
		}
		t.count("default k queued", 1, "default k running", 1)
	}},
	{"54", "two that command the same tasks do it once to each, and no waiting call misses it", func(t *T) {
		t.join("w")
		var seen []task.Standing
		for range 20 {
			seen = append(seen, t.standing(t.failed()))
		}
		before, err := t.Store.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		var (
			both sync.WaitGroup
			errs [2][]error
		)
		for i := range errs {
			both.Go(func() { errs[i] = t.bare.ControlAll(t.Context(), task.Command{Verb: task.VerbRetry}, seen) })
		}
		both.Wait()
		for i := range seen {
			a, b := errs[0][i], errs[1][i]
			if (a == nil) == (b == nil) || a != nil && !errors.Is(a, task.ErrChanged) || b != nil && !errors.Is(b, task.ErrChanged) {
				t.Errorf("the task %d: %v and %v", i, a, b)
			}
		}
		for now := before; now.Tasks == before.Tasks; {
			if now, err = t.Store.Wait(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
		t.count("default k queued", len(seen))
	}},
	{"51", "commands to all tasks with a key leave its time as those to one do", func(t *T) {
		t.join("w")
		throttled := func(key string, window time.Duration) task.NewTask {
			n := t.another(key, task.Discard, func(n *task.NewTask) { n.KeyFor = window })
			t.answered(n, n.ID, task.OutcomeAdded)
			return n
		}
		all := func(verb task.Verb, key string, want task.BulkResult) {
			t.Helper()
			t.tick()
			if got, err := task.NewClient(t.Store).Bulk(t.Context(), verb, task.Query{Kind: "k", Key: key}, nil); err != nil || got != want {
				t.Errorf("%s all of %s: %+v, %v, want %+v", verb, key, got, err, want)
			}
		}
		held := func(key string, by task.NewTask) {
			t.Helper()
			t.answered(t.another(key, task.Discard), by.ID, task.OutcomeDiscarded)
		}
		one, beside := throttled("one", time.Hour), throttled("beside", time.Hour)
		all(task.VerbCancel, "one", task.BulkResult{Found: 1, Done: 1})
		held("one", one)
		all(task.VerbRetry, "one", task.BulkResult{Found: 1, Done: 1})
		for _, c := range t.claim("w", 10) {
			t.mustApply(change(c, task.StatusFailed))
		}
		held("one", one)
		all(task.VerbDelete, "one", task.BulkResult{Found: 1, Done: 1})
		next := throttled("one", brief) // the deletion has given it back
		held("beside", beside)
		t.mustApply(change(t.claimOnly(next.ID), task.StatusFailed))
		time.Sleep(brief)
		last := throttled("one", time.Hour)
		t.mustApply(change(t.claimOnly(last.ID), task.StatusFailed))
		all(task.VerbRetry, "one", task.BulkResult{Found: 2, Done: 1, KeyBusy: 1})
		if got := t.get(next.ID); got.Status != task.StatusFailed {
			t.Errorf("one whose key another one holds, which has ended, is %s", got.Status)
		}
		all(task.VerbDelete, "one", task.BulkResult{Found: 1, Done: 1})
		held("one", last)
	}},
	{"55", "what was asked of a task is kept with it, and by whom and why", func(t *T) {
		t.join("w")
		id, other := t.failed(), t.failed()
		if got := t.commands(id); len(got) != 0 {
			t.Errorf("before anything was asked: %v", got)
		}
		ask := func(verb task.Verb, by, reason string) {
			t.Helper()
			t.tick()
			if err := t.Store.Control(t.Context(), task.Command{Verb: verb, Task: id, By: by, Reason: reason}); err != nil {
				t.Fatalf("%s: %v", verb, err)
			}
		}
		ask(task.VerbRetry, "ann", "the disk is back")
		ask(task.VerbCancel, "", "")
		ask(task.VerbRetry, "bob", "it's \"needed\"\n")
		t.claim("w", 1)
		ask(task.VerbInterrupt, "ops", "")
		ask(task.VerbCancel, "ops", "ü")
		t.wantErr("a command that was refused", t.Store.Control(t.Context(), task.Command{Verb: task.VerbRetry, Task: id, By: "eve"}), task.ErrRunning)
		want := []string{"retry by ann: the disk is back", "cancel by : ", "retry by bob: it's \"needed\"\n", "interrupt by ops: ", "cancel by ops: ü"}
		if got := t.commands(id); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		t.askAll(task.VerbRetry, []task.Standing{t.standing(other), {ID: id, Status: task.StatusFailed}}, nil, task.ErrChanged)
		if got, want := t.commands(other), []string{"retry by ops: because"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		t.mustAsk(task.VerbCancel, other)
		t.mustAsk(task.VerbDelete, other)
		_, err := t.Store.Commands(t.Context(), other)
		t.wantErr("commands of what was deleted", err, task.ErrNotFound)
		t.add(func(n *task.NewTask) { n.ID = other })
		if got := t.commands(other); len(got) != 0 {
			t.Errorf("a new task of an id that was deleted has the commands %q", got)
		}
	}},
	{"55", "the newest commands are kept, and go with the task", func(t *T) {
		id := t.add()
		const n = task.MaxCommands + 7
		for i := range n {
			cmd := task.Command{Verb: task.VerbRetry, Task: id, By: fmt.Sprint(i)}
			if err := t.bare.Control(t.Context(), cmd); err != nil {
				t.Fatal(err)
			}
			t.tick()
		}
		got := t.commands(id)
		if len(got) != task.MaxCommands || got[0] != fmt.Sprintf("retry by %d: ", n-task.MaxCommands) || got[len(got)-1] != fmt.Sprintf("retry by %d: ", n-1) {
			t.Errorf("%d commands, from %q", len(got), got[:min(len(got), 1)])
		}
		t.mustAsk(task.VerbCancel, id)
		t.tick()
		if n := t.prune(0, 10); n != 1 {
			t.Fatalf("%d tasks removed", n)
		}
		_, err := t.Store.Commands(t.Context(), id)
		t.wantErr("commands of what was pruned", err, task.ErrNotFound)
		t.add(func(n *task.NewTask) { n.ID = id })
		if got := t.commands(id); len(got) != 0 {
			t.Errorf("a new task of an id that was pruned has the commands %q", got)
		}
	}},
}

// commands lists the commands for a task. One that a repeated call has recorded twice counts once.
func (t *T) commands(id string) (all []string) {
	t.Helper()
	got, err := t.Store.Commands(t.Context(), id)
	if err != nil {
		t.Fatalf("Commands: %v", err)
	}
	for i, c := range got {
		if i > 0 && c.At.Before(got[i-1].At) || time.Since(c.At).Abs() > time.Minute {
			t.Errorf("at %v, behind %v", c.At, got[max(i-1, 0)].At)
		}
		all = append(all, fmt.Sprintf("%s by %s: %s", c.Verb, c.By, c.Reason))
	}
	return slices.Compact(all)
}
