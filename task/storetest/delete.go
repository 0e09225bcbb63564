package storetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var deleteRules = []rule{
	{"36", "Delete removes all of an ended task, and its id makes a new one", func(t *T) {
		t.join("w")
		beside := t.add()
		t.claim("w", 1)
		n := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Key: "key", Payload: []byte("old"), Meta: map[string]string{"user": "7"}}
		for _, status := range []task.Status{task.StatusSucceeded, task.StatusFailed, task.StatusCancelled} {
			t.addAll([]task.NewTask{n}, []task.AddResult{{ID: n.ID}})
			if got := t.get(n.ID); got.Runs != 0 || got.Error != "" || got.Checkpoint != nil || got.Progress != (task.Progress{}) || got.Result != nil || got.Counters != (task.Counters{}) {
				t.Errorf("a task of an id that was deleted has %+v of the old one", got)
			}
			t.wantErr("delete of one that waits", t.ask(task.VerbDelete, n.ID), task.ErrNotEnded)
			first := change(t.claim("w", 1)[0], task.StatusInterrupted)
			first.Checkpoint, first.Log, first.Error = []byte("old"), []byte("old"), "old"
			first.Progress, first.Counters.Attempts = &task.Progress{Fraction: 0.5, Message: "old"}, 1
			t.mustApply(first)
			t.wantErr("delete of one that was interrupted", t.ask(task.VerbDelete, n.ID), task.ErrNotEnded)
			run := t.claim("w", 1)[0]
			t.wantErr("delete of one that runs", t.ask(task.VerbDelete, n.ID), task.ErrNotEnded)
			end := change(run, status)
			end.Log, end.Error, end.Result = []byte("old"), "old", []byte("old")
			t.mustApply(end)
			t.count("default k running", 1, "default k "+string(status), 1)
			t.mustAsk(task.VerbDelete, n.ID)
			t.gone(n.ID)
			t.count("default k running", 1)
			if err := t.apply(change(run, task.StatusFailed)); err == nil {
				t.Errorf("a change of a run of a task that is deleted was made")
			}
			t.gone(n.ID)
		}
		t.wantErr("delete of what never was", t.ask(task.VerbDelete, t.id()), task.ErrNotFound)
		if got := t.keyed("k", "key"); got.Outcome == task.OutcomeExisting {
			t.Errorf("the key is %s's", got.ID)
		} else {
			t.mustAsk(task.VerbCancel, got.ID) // while it waits
			t.mustAsk(task.VerbDelete, got.ID)
			t.gone(got.ID)
		}
		t.count("default k running", 1)
		if got := t.get(beside); got.Status != task.StatusRunning {
			t.Errorf("the task beside is %s", got.Status)
		}
	}},
	{"36", "a delete that meets a retry, a pruning and another delete leaves all of the task or nothing", func(t *T) {
		t.join("w")
		for range 20 {
			id := t.add(func(n *task.NewTask) { n.Key = "key" })
			c := change(t.claim("w", 1)[0], task.StatusFailed)
			c.Log = []byte("log")
			t.mustApply(c)
			t.tick()
			var (
				all                     sync.WaitGroup
				deleted, again, retried error
				pruned                  task.PruneReply
			)
			all.Go(func() { deleted = t.ask(task.VerbDelete, id) })
			all.Go(func() { again = t.bare.Control(t.Context(), task.Command{Verb: task.VerbDelete, Task: id}) })
			all.Go(func() { retried = t.bare.Control(t.Context(), task.Command{Verb: task.VerbRetry, Task: id}) })
			all.Go(func() { pruned, _ = t.bare.Prune(t.Context(), task.PruneRequest{Age: time.Microsecond, Max: 10}) })
			all.Wait()
			removed := pruned.Tasks
			for _, err := range []error{deleted, again} {
				if err == nil {
					removed++
				} else if want := map[bool]error{true: task.ErrNotEnded, false: task.ErrNotFound}[retried == nil]; !errors.Is(err, want) {
					t.Errorf("delete: %v, want %v", err, want)
				}
			}
			left, err := t.Store.Find(t.Context(), task.Query{IDs: []string{id}})
			if err != nil || removed+len(left) != 1 || (retried == nil) != (len(left) == 1) || len(left) == 1 && left[0].Status != task.StatusQueued {
				t.Fatalf("removed %d times (delete: %v and %v, pruned %d), retry: %v, left %+v, %v", removed, deleted, again, pruned.Tasks, retried, left, err)
			}
			if len(left) == 1 {
				t.mustApply(change(t.claim("w", 1)[0], task.StatusSucceeded))
				t.mustAsk(task.VerbDelete, id)
			}
			t.gone(id)
			t.count()
		}
	}},
}

// gone complains about whatever the store still has of a task.
func (t *T) gone(id string) {
	t.Helper()
	found, err := t.Store.Find(t.Context(), task.Query{IDs: []string{id}})
	if err != nil || len(found) != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
	all, err := t.Store.Find(t.Context(), task.Query{})
	if err != nil || slices.Contains(ids(all), id) {
		t.Errorf("listed: %v, %v", ids(all), err)
	}
	_, err = t.Store.History(t.Context(), id)
	t.wantErr("history of what was deleted", err, task.ErrNotFound)
	_, err = t.Store.Log(t.Context(), id)
	t.wantErr("log of what was deleted", err, task.ErrNotFound)
	_, err = t.Store.Steps(t.Context(), id)
	t.wantErr("steps of what was deleted", err, task.ErrNotFound)
	for _, verb := range []task.Verb{task.VerbCancel, task.VerbRetry, task.VerbInterrupt, task.VerbDelete} {
		t.wantErr(string(verb)+" of what was deleted", t.ask(verb, id), task.ErrNotFound)
	}
}
