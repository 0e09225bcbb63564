package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// neighbourRules are about what others may do while a caller's transaction is open, and about calls
// inside a transaction that meet those of others.
var neighbourRules = []txRule{
	{"while a transaction is open that finishes a task, no other task is held up", "a handler may keep its transaction open for minutes", func(t *txT) {
		n := t.settle()
		tx := t.begin()
		if err := t.store.FinishTx(t.Context(), tx.Tx, change(n.mine, task.StatusSucceeded)); err != nil {
			t.Fatalf("FinishTx: %v", err)
		}
		n.goOn()
		n.takeAll()
		t.commit(tx)
		if got := t.get(n.mine.ID); got.Status != task.StatusSucceeded {
			t.Errorf("the task that was finished is %s", got.Status)
		}
	}},
	{"while a transaction is open that saves a checkpoint, no other task is held up", "a handler may keep its transaction open for minutes", func(t *txT) {
		n := t.settle()
		tx := t.begin()
		if err := t.store.SaveTx(t.Context(), tx.Tx, saved(n.mine, "mine")); err != nil {
			t.Fatalf("SaveTx: %v", err)
		}
		n.goOn()
		n.takeAll()
		t.commit(tx)
		if got := t.get(n.mine.ID); got.Status != task.StatusRunning || string(got.Checkpoint) != "mine" {
			t.Errorf("the task is %s with the checkpoint %q", got.Status, got.Checkpoint)
		}
	}},
	{"a run whose checkpoint is in an open transaction is neither saved nor ended before that has ended", "the next run would begin at the old checkpoint, and do again what is then committed", func(t *txT) {
		run := t.run("w")
		tx := t.begin()
		if err := t.store.SaveTx(t.Context(), tx.Tx, saved(run, "new")); err != nil {
			t.Fatalf("SaveTx: %v", err)
		}
		for _, c := range []task.Change{change(run, task.StatusRunning), saved(run, "other"), change(run, task.StatusInterrupted), taken([]task.Task{run})[0]} {
			t.within("a change of the run", func(ctx context.Context) error {
				if err := t.Store.Apply(ctx, []task.Change{c})[0]; !errors.Is(err, task.ErrHeldUp) {
					return fmt.Errorf("a change to %s was answered %w, want ErrHeldUp", c.Status, err)
				}
				return nil
			})
		}
		t.commit(tx)
		t.mustApply(change(run, task.StatusInterrupted))
		if again := t.claim("w", 1); len(again) != 1 || string(again[0].Checkpoint) != "new" {
			t.Errorf("claimed %+v", again)
		}
	}},
	{"while a transaction is open that adds tasks, no other task is held up", "a web request may keep its transaction open for minutes", func(t *txT) {
		n := t.settle()
		tx := t.begin()
		keyed := t.addIn(tx, func(n *task.NewTask) { n.Key = "added" })
		plain := t.addIn(tx, func(n *task.NewTask) { n.Queue = "never seen before" })
		n.goOn()
		n.takeAll()
		t.commit(tx)
		if !t.exists(keyed) || !t.exists(plain) {
			t.Error("what was added is not there after the commit")
		}
	}},
	{"a transaction that only found a key or an id does not hold up the task that has it", "a caller that submits a task twice would keep it from ending", func(t *txT) {
		t.join("w")
		holder, idle := t.keyed("k", "runs").ID, t.add(func(n *task.NewTask) { n.Key, n.Delay = "waits", time.Hour })
		run := t.claim("w", 1)[0]
		tx := t.begin()
		news := t.news("runs", "waits", "")
		news[2].ID = holder
		t.addAllIn(tx, news, []task.AddResult{{ID: holder, Outcome: task.OutcomeExisting}, {ID: idle, Outcome: task.OutcomeExisting}, {ID: holder, Outcome: task.OutcomeExisting}})
		t.within("a save of the task that has the key", func(ctx context.Context) error {
			return t.Store.Apply(ctx, []task.Change{change(run, task.StatusRunning)})[0]
		})
		t.within("its end", func(ctx context.Context) error {
			return t.Store.Apply(ctx, []task.Change{change(run, task.StatusSucceeded)})[0]
		})
		t.within("a cancellation", func(ctx context.Context) error {
			return t.Store.Control(ctx, task.Command{Verb: task.VerbCancel, Task: idle})
		})
		t.commit(tx)
		t.count("default k succeeded", 1, "default k cancelled", 1)
	}},
	{"what a transaction is about to add is busy for others until its end", "two tasks with one key, or a wait for somebody's transaction", func(t *txT) {
		ended := t.keyed("k", "key").ID
		t.mustAsk(task.VerbCancel, ended)
		for _, commits := range []bool{false, true} {
			tx := t.begin()
			added := t.addIn(tx, func(n *task.NewTask) { n.Key = "key" })
			news := t.news("", "key", "free", "")
			news[3].ID = added
			want := []task.AddResult{{ID: news[0].ID}, {ID: news[1].ID, Busy: true}, {ID: news[2].ID}, {ID: added, Busy: true}}
			t.within("Add", func(ctx context.Context) error {
				got, err := t.Store.Add(ctx, news)
				if err == nil && !slices.Equal(got, want) {
					err = fmt.Errorf("answered %+v, want %+v", got, want)
				}
				return err
			})
			t.within("Retry", func(ctx context.Context) error {
				err := t.Store.Control(ctx, task.Command{Verb: task.VerbRetry, Task: ended})
				if !errors.Is(err, task.ErrKeyBusy) {
					return fmt.Errorf("answered %w, want ErrKeyBusy", err)
				}
				return nil
			})
			if !commits {
				t.rollback(tx)
				t.mustAsk(task.VerbRetry, ended)
				t.mustAsk(task.VerbCancel, ended)
				t.mustAsk(task.VerbCancel, news[2].ID)
				continue
			}
			t.commit(tx)
			news = t.news("key", "")
			news[1].ID, news[1].Payload = added, []byte("{}") // as addIn has it
			t.addAll(news, []task.AddResult{{ID: added, Outcome: task.OutcomeExisting}, {ID: added, Outcome: task.OutcomeExisting}})
			t.wantErr("Retry", t.ask(task.VerbRetry, ended), task.ErrKeyBusy)
		}
	}},
	{"a key or an id that is busy leaves the transaction as it was", "the caller's rows are lost for the sake of a key", func(t *txT) {
		other := t.begin()
		theirs := t.addIn(other, func(n *task.NewTask) { n.Key = "key" })
		tx := t.begin()
		first := t.addIn(tx)
		news := t.news("", "key", "mine", "")
		news[3].ID = theirs
		t.addAllIn(tx, news, []task.AddResult{{ID: news[0].ID}, {ID: news[1].ID, Busy: true}, {ID: news[2].ID}, {ID: theirs, Busy: true}})
		last := t.addIn(tx)
		t.commit(tx)
		for _, id := range []string{first, news[0].ID, news[2].ID, last} {
			if !t.exists(id) {
				t.Errorf("task %s is not there after the commit", id)
			}
		}
		if t.exists(news[1].ID) || t.exists(theirs) {
			t.Error("what was busy is there")
		}
		t.commit(other)
		if got := t.keyed("k", "key"); got.Outcome != task.OutcomeExisting || got.ID != theirs {
			t.Errorf("the key is %+v, want %s", got, theirs)
		}
	}},
	{"of an addition in a transaction, another one and a retry of one key, one gets it", "a key is for work that must not be there twice", func(t *txT) {
		for round := range 4 {
			key := fmt.Sprintf("key %d", round)
			ended := t.keyed("k", key).ID
			t.mustAsk(task.VerbCancel, ended)
			news := t.news(key, key)
			var inTx, alone, retried task.AddResult
			var contenders sync.WaitGroup
			tried := make(chan struct{})
			answered := sync.OnceFunc(func() { close(tried) })
			if round%2 == 0 { // it comes first, and commits when another one has tried
				tx := t.begin()
				inTx.ID = t.addIn(tx, func(n *task.NewTask) { *n = news[0] })
				contenders.Go(func() { <-tried; t.commit(tx) })
			} else {
				contenders.Go(func() { inTx = t.insistIn(news[0]) })
			}
			contenders.Go(func() {
				defer answered()
				t.until("Add", func() bool {
					got, err := t.Store.Add(t.Context(), news[1:])
					alone = t.wantAdded(got, err)
					answered()
					return !alone.Busy
				})
			})
			contenders.Go(func() {
				err := t.ask(task.VerbRetry, ended)
				if retried = (task.AddResult{ID: ended, Outcome: wasThere(err != nil)}); err != nil {
					t.wantErr("Retry", err, task.ErrKeyBusy)
				}
			})
			contenders.Wait()
			unfinished := t.found(task.Query{Key: key, Status: task.StatusQueued})
			if len(unfinished) != 1 {
				t.Fatalf("%d unfinished tasks have the key", len(unfinished))
			}
			for _, got := range []task.AddResult{inTx, alone, retried} {
				if won := got.ID == unfinished[0]; !won && got.Outcome != task.OutcomeExisting {
					t.Errorf("%s has the key, and another one was told that it has: %+v", unfinished[0], got)
				}
			}
			if got := t.keyed("k", key); got.Outcome != task.OutcomeExisting || got.ID != unfinished[0] {
				t.Errorf("the key is %+v, want %s", got, unfinished[0])
			}
		}
	}},
	{"a thousand tasks of every sort can be added in one call", "an import is one transaction", func(t *txT) {
		const tasks = 1000
		var news []task.NewTask
		var want []task.AddResult
		for n := range tasks {
			one := task.NewTask{ID: random(n), Kind: fmt.Sprintf("k%d", n%3), Queue: fmt.Sprintf("new %d", n%50), Payload: []byte("{}"), Priority: n % 7}
			if n%2 == 0 {
				one.Key = fmt.Sprintf("key %d", n)
			}
			if n%4 < 2 {
				one.Delay = time.Hour
			}
			news, want = append(news, one), append(want, task.AddResult{ID: one.ID})
		}
		tx := t.begin()
		t.addAllIn(tx, news, want)
		t.commit(tx)
		counts, err := t.Store.Count(t.Context(), task.CountQuery{})
		total := 0
		for _, c := range counts.Tasks {
			total += c.N
		}
		if err != nil || total != tasks {
			t.Errorf("%d tasks, %v", total, err)
		}
		t.join("w")
		got, err := t.Store.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: tasks, Kinds: []task.KindClaim{{Kind: "k0", Max: tasks}, {Kind: "k1", Max: tasks}, {Kind: "k2", Max: tasks}}})
		if err != nil || len(got) != tasks/2 {
			t.Errorf("%d can be claimed, %v, want %d", len(got), err, tasks/2)
		}
	}},
	{"of an end in a transaction, a taking, a cancellation and saves that meet, one outcome is left", "the rows of the transaction and the task's end are one step", func(t *txT) {
		for round := range 8 {
			run := t.run(fmt.Sprintf("w%d", round))
			m := &meeting{T: t.T, run: run}
			tx := t.begin()
			finish := func() error { return t.store.FinishTx(t.Context(), tx.Tx, change(run, task.StatusSucceeded)) }
			if round%2 == 0 { // before the others begin
				err := finish()
				finish = func() error { return err }
			}
			m.start(func() error {
				if err := finish(); err != nil {
					return errors.Join(err, tx.Rollback())
				}
				t.tick() // meanwhile the others come, and may have to wait
				if err := tx.Commit(); err != nil {
					return fmt.Errorf("%w: %w", task.ErrLeaseLost, err)
				}
				return nil
			}, round)
			m.check(round + 1)
		}
	}},
	{"ends that come in one call with that of a task in an open transaction are recorded", "a worker that takes over the runs of a dead one does so in one call", func(t *txT) {
		n := t.settle()
		tx := t.begin()
		if err := t.store.FinishTx(t.Context(), tx.Tx, change(n.mine, task.StatusSucceeded)); err != nil {
			t.Fatalf("FinishTx: %v", err)
		}
		all := taken(append([]task.Task{n.mine}, n.runs...))
		t.within("a call with its end and others", func(ctx context.Context) error {
			errs := t.Store.Apply(ctx, all)
			if errs[0] == nil {
				t.Error("the run was taken, and its end is in the open transaction")
			}
			return errors.Join(errs[1:]...)
		})
		for _, c := range n.runs {
			if got := t.get(c.ID); got.Status != task.StatusInterrupted {
				t.Errorf("another task of the call is %s", got.Status)
			}
		}
		t.commit(tx)
		if got := t.get(n.mine.ID); got.Status != task.StatusSucceeded {
			t.Errorf("the task of the transaction is %s", got.Status)
		}
		t.wantErr("the taking that came too late", t.apply(all[0]), task.ErrAlreadyFinished)
	}},
}

// within makes a call that must not be held up: it returns within a second, without an error.
func (t *txT) within(what string, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := call(ctx); err != nil {
		t.Fatalf("%s, while a transaction is open: %v", what, err)
	}
}

// addAllIn is addAll as part of a transaction.
func (t *txT) addAllIn(tx Transaction, news []task.NewTask, want []task.AddResult) {
	t.Helper()
	added, err := t.store.AddTx(t.Context(), tx.Tx, news)
	if err != nil {
		t.Fatalf("AddTx: %v", err)
	}
	for i := range want {
		if i >= len(added) || added[i] != want[i] {
			t.Fatalf("AddTx answered %+v, want %+v for task %d", added, want[i], i)
		}
	}
}

// until calls done until it returns true.
func (t *txT) until(what string, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Errorf("%s: never done", what)
			return
		}
		t.tick()
	}
}

// wantAdded returns the result of adding one task.
func (t *txT) wantAdded(got []task.AddResult, err error) task.AddResult {
	t.Helper()
	if err != nil || len(got) != 1 {
		t.Errorf("Add: %+v, %v", got, err)
		return task.AddResult{Outcome: task.OutcomeExisting} // it is not tried again
	}
	return got[0]
}

// insistIn adds a task in a transaction, as often as it takes.
func (t *txT) insistIn(n task.NewTask) (added task.AddResult) {
	t.Helper()
	t.until("AddTx", func() bool {
		tx := t.begin()
		got, err := t.store.AddTx(t.Context(), tx.Tx, []task.NewTask{n})
		if added = t.wantAdded(got, err); added.Busy {
			t.rollback(tx)
			return false
		}
		t.tick()
		t.commit(tx)
		return true
	})
	return added
}
