package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// txRule is a case about the transactions of a [task.TxStore].
type txRule struct {
	says, reason string
	check        func(t *txT)
}

// txT is the test of a case with one way to begin a transaction.
type txT struct {
	*T
	store task.TxStore
	begin func() Transaction
}

// runTx checks every case with every way to begin a transaction.
func runTx(t *testing.T, e Engine) {
	for way, begin := range e.Begin {
		for _, r := range slices.Concat(txRules, stepTxRules, neighbourRules, keyTxRules) {
			t.Run(fmt.Sprintf("transaction %d %s", way+1, r.says), func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("task.TxStore says: %s. Why: %s", r.says, r.reason)
					}
				})
				s := e.Open(t)
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Errorf("close: %v", err)
					}
				})
				store, ok := s.(task.TxStore)
				if !ok {
					t.Fatalf("a %T is no task.TxStore: leave Begin out", s)
				}
				r.check(&txT{
					T:     &T{TB: t, real: t, Store: s, bare: s, engine: e},
					store: store,
					begin: func() Transaction { return begin(t, s) },
				})
			})
		}
	}
}

var txRules = []txRule{
	{"what is added exists when the transaction commits, and not before", "a task must not run before the rows that it is about are there", func(t *txT) {
		t.join("w")
		tx := t.begin()
		odd := map[string]string{"tenant": `{"a\\b", c}`, "none": ""}
		plain, id := t.addIn(tx), t.addIn(tx, func(n *task.NewTask) { n.Meta = odd })
		if t.exists(id) || t.exists(plain) {
			t.Error("it is there before the commit")
		}
		if got := t.claim("w", 10); len(got) != 0 {
			t.Errorf("claimed before the commit: %v", ids(got))
		}
		t.commit(tx)
		t.store.Wake()
		got := t.claim("w", 10)
		if !slices.Equal(ids(got), []string{plain, id}) {
			t.Fatalf("claimed %v after the commit, want %s and %s", ids(got), plain, id)
		}
		t.sameMeta("claimed after the commit", got[0], nil)
		t.sameMeta("claimed after the commit", got[1], odd)
	}},
	{"what is added in a transaction that is rolled back never existed", "a task about rows that are not there cannot be done", func(t *txT) {
		t.join("w")
		tx := t.begin()
		id := t.addIn(tx, func(n *task.NewTask) { n.Key = "key" })
		t.rollback(tx)
		t.store.Wake()
		if t.exists(id) {
			t.Error("it is there")
		}
		if got := t.claim("w", 10); len(got) != 0 {
			t.Errorf("claimed %v", ids(got))
		}
		t.add(func(n *task.NewTask) { n.Key = "key" }) // which is free
	}},
	{"what existed is said to have existed, and changes nothing", "a submit whose answer was lost is sent again, and must make no second task", func(t *txT) {
		id := t.add()
		tx := t.begin()
		added, err := t.store.AddTx(t.Context(), tx.Tx, []task.NewTask{{ID: id, Kind: "k", Queue: "other", Payload: []byte("{}")}})
		if err != nil || len(added) != 1 || added[0] != (task.AddResult{ID: id, Outcome: task.OutcomeExisting}) {
			t.Errorf("AddTx: %+v, %v", added, err)
		}
		t.commit(tx)
		if got := t.get(id); got.Queue != "default" {
			t.Errorf("the queue is %s", got.Queue)
		}
	}},
	{"an id of another task, also of one of the same transaction, is a conflict, and the transaction goes on", "the caller's rows would be next to a task that is about something else", func(t *txT) {
		id := t.add()
		tx := t.begin()
		own := t.addIn(tx)
		for _, n := range []task.NewTask{
			{ID: id, Kind: "k", Queue: "default", Payload: []byte("other")}, {ID: id, Kind: "other", Queue: "default", Payload: []byte("{}")},
			{ID: own, Kind: "k", Queue: "default", Payload: []byte("other")},
		} {
			added, err := t.store.AddTx(t.Context(), tx.Tx, []task.NewTask{n})
			if err != nil || len(added) != 1 || added[0] != (task.AddResult{ID: n.ID, Conflict: true}) {
				t.Errorf("AddTx: %+v, %v", added, err)
			}
		}
		t.commit(tx)
		if got := t.get(id); string(got.Payload) != "{}" || got.Kind != "k" || !t.exists(own) {
			t.Errorf("the task is %+v", got)
		}
	}},
	{"a run that is finished in a transaction has succeeded when it commits", "the rows that a handler wrote and the end of its task are one step", func(t *txT) {
		run := t.run("w")
		tx := t.begin()
		end := change(run, task.StatusSucceeded)
		end.Result = []byte("result")
		if err := t.store.FinishTx(t.Context(), tx.Tx, end); err != nil {
			t.Fatalf("FinishTx: %v", err)
		}
		if got := t.get(run.ID); got.Status != task.StatusRunning {
			t.Errorf("it is %s before the commit", got.Status)
		}
		t.commit(tx)
		if got := t.get(run.ID); got.Status != task.StatusSucceeded || string(got.Result) != "result" {
			t.Errorf("it is %s with the result %q", got.Status, got.Result)
		}
		if err := t.apply(end); err != nil { // rule 9
			t.Errorf("the same end again: %v", err)
		}
	}},
	{"a run that is finished in a transaction that is rolled back goes on", "nothing of what the handler wrote is there", func(t *txT) {
		run := t.run("w")
		tx := t.begin()
		if err := t.store.FinishTx(t.Context(), tx.Tx, change(run, task.StatusSucceeded)); err != nil {
			t.Fatalf("FinishTx: %v", err)
		}
		t.rollback(tx)
		if got := t.get(run.ID); got.Status != task.StatusRunning || got.Run != run.Run || got.Worker != run.Worker {
			t.Errorf("it is %s in run %d of %s", got.Status, got.Run, got.Worker)
		}
		t.mustApply(change(run, task.StatusInterrupted)) // it is still held
	}},
	{"a checkpoint that is saved in a transaction is recorded when it commits", "the rows that a handler wrote and how far it is are one step", func(t *txT) {
		run := t.run("w")
		t.mustApply(saved(run, "old"))
		tx := t.begin()
		save := saved(run, "new")
		save.Progress, save.Counters.Interruptions = &task.Progress{Fraction: 0.5, Message: "half"}, 2
		if err := t.store.SaveTx(t.Context(), tx.Tx, save); err != nil {
			t.Fatalf("SaveTx: %v", err)
		}
		if got := t.get(run.ID); string(got.Checkpoint) != "old" {
			t.Errorf("the checkpoint is %q before the commit", got.Checkpoint)
		}
		t.commit(tx)
		got := t.get(run.ID)
		if got.Status != task.StatusRunning || string(got.Checkpoint) != "new" || got.Progress != *save.Progress || got.Interruptions != 2 {
			t.Errorf("it is %s with the checkpoint %q, %+v, %+v", got.Status, got.Checkpoint, got.Progress, got.Counters)
		}
		t.mustApply(saved(run, "newer")) // the run goes on
	}},
	{"a checkpoint that is saved in a transaction that is rolled back is not recorded", "the next run would leave out work whose rows are not there", func(t *txT) {
		run := t.run("w")
		t.mustApply(saved(run, "old"))
		tx := t.begin()
		if err := t.store.SaveTx(t.Context(), tx.Tx, saved(run, "new")); err != nil {
			t.Fatalf("SaveTx: %v", err)
		}
		t.rollback(tx)
		if got := t.get(run.ID); got.Status != task.StatusRunning || string(got.Checkpoint) != "old" {
			t.Errorf("it is %s with the checkpoint %q", got.Status, got.Checkpoint)
		}
		t.mustApply(change(run, task.StatusInterrupted)) // it is still held
	}},
	{"a transaction saves several checkpoints and ends the run", "a handler may put all its work into one transaction", func(t *txT) {
		run := t.run("w")
		tx := t.begin()
		for _, checkpoint := range []string{"first", "second"} {
			if err := t.store.SaveTx(t.Context(), tx.Tx, saved(run, checkpoint)); err != nil {
				t.Fatalf("SaveTx: %v", err)
			}
		}
		if err := t.store.FinishTx(t.Context(), tx.Tx, change(run, task.StatusSucceeded)); err != nil {
			t.Fatalf("FinishTx: %v", err)
		}
		t.commit(tx)
		if got := t.get(run.ID); got.Status != task.StatusSucceeded {
			t.Errorf("it is %s", got.Status)
		}
	}},
	{"a transaction that saves a checkpoint of a run that is no longer held cannot be committed", "a stale worker's rows would be there, and its successor's too", func(t *txT) {
		stale := t.run("w")
		t.mustApply(change(stale, task.StatusInterrupted))
		again := t.claim("w", 1)
		if len(again) != 1 {
			t.Fatalf("claimed %v", ids(again))
		}
		t.mustApply(saved(again[0], "its successor's"))
		tx := t.begin()
		beside := t.addIn(tx)
		if err := t.store.SaveTx(t.Context(), tx.Tx, saved(stale, "stale")); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("SaveTx: %v, want ErrLeaseLost", err)
		}
		if err := tx.Commit(); err == nil {
			t.Error("the transaction was committed")
		}
		if got := t.get(stale.ID); string(got.Checkpoint) != "its successor's" || t.exists(beside) {
			t.Errorf("the checkpoint is %q; what else the transaction did is there: %t", got.Checkpoint, t.exists(beside))
		}
	}},
	{"a transaction of a run that is no longer held cannot be committed", "a stale worker's rows would be there, and its successor's too", func(t *txT) {
		stale := t.run("w")
		t.mustApply(change(stale, task.StatusInterrupted))
		if again := t.claim("w", 1); len(again) != 1 {
			t.Fatalf("claimed %v", ids(again))
		}
		tx := t.begin()
		beside := t.addIn(tx)
		if err := t.store.FinishTx(t.Context(), tx.Tx, change(stale, task.StatusSucceeded)); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("FinishTx: %v, want ErrLeaseLost", err)
		}
		if err := tx.Commit(); err == nil {
			t.Error("the transaction was committed")
		}
		if t.exists(beside) {
			t.Error("what else the transaction did is there")
		}
		if got := t.get(stale.ID); got.Status != task.StatusRunning || got.Run == stale.Run {
			t.Errorf("the task is %s in run %d", got.Status, got.Run)
		}
	}},
}

// saved returns a change that records a checkpoint.
func saved(run task.Task, checkpoint string) task.Change {
	c := change(run, task.StatusRunning)
	c.Checkpoint = []byte(checkpoint)
	return c
}

// addIn adds a task as part of a transaction and returns its id.
func (t *txT) addIn(tx Transaction, change ...func(*task.NewTask)) string {
	t.Helper()
	n := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("{}")}
	for _, c := range change {
		c(&n)
	}
	added, err := t.store.AddTx(t.Context(), tx.Tx, []task.NewTask{n})
	if err != nil || len(added) != 1 || added[0] != (task.AddResult{ID: n.ID}) {
		t.Fatalf("AddTx: %+v, %v", added, err)
	}
	return n.ID
}

func (t *txT) exists(id string) bool {
	t.Helper()
	got, err := t.store.Find(t.Context(), task.Query{IDs: []string{id}})
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return len(got) > 0
}

func (t *txT) commit(tx Transaction) {
	t.Helper()
	if err := tx.Commit(); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func (t *txT) rollback(tx Transaction) {
	t.Helper()
	if err := tx.Rollback(); err != nil {
		t.Fatalf("rollback: %v", err)
	}
}
