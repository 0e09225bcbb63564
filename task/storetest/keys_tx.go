package storetest

import (
	"context"
	"fmt"

	"github.com/lastcall-go/lastcall/task"
)

// keyTxRules are about replacing a task inside a transaction.
var keyTxRules = []txRule{
	{"a task that an open transaction has replaced is not claimed before that has ended, and holds up nobody", "a run would have the old payload after the new one was confirmed", func(t *txT) {
		n := t.settle()
		old, by := t.waits("key"), t.another("key", task.Replace)
		tx := t.begin()
		t.addAllIn(tx, []task.NewTask{by}, []task.AddResult{{ID: old.ID, Outcome: task.OutcomeReplaced}})
		if got := t.get(old.ID); string(got.Payload) != string(old.Payload) {
			t.Errorf("before the commit the payload is %s", got.Payload)
		}
		existing, replace := t.another("key", task.Existing), t.another("key", task.Replace)
		t.within("Add", func(ctx context.Context) error {
			got, err := t.Store.Add(ctx, []task.NewTask{existing, replace})
			if err == nil && (got[0] != task.AddResult{ID: old.ID, Outcome: task.OutcomeExisting} || got[1] != task.AddResult{ID: replace.ID, Busy: true}) {
				err = fmt.Errorf("answered %+v", got)
			}
			return err
		})
		n.goOn()
		n.takeAll()
		t.join("other")
		t.claim("other", 100) // all that can be claimed
		if got := t.get(old.ID); got.Status != task.StatusQueued || got.Runs != 0 {
			t.Errorf("before the commit it is %s after %d runs", got.Status, got.Runs)
		}
		t.commit(tx)
		t.store.Wake()
		if got := t.claim("other", 10); len(got) != 1 || got[0].ID != old.ID || string(got[0].Payload) != string(by.Payload) {
			t.Errorf("after the commit %+v was claimed", got)
		}
	}},
	{"a replacement that is rolled back has changed nothing", "work would be done about rows that are not there", func(t *txT) {
		t.join("w")
		old, by := t.waits("key"), t.another("key", task.Replace)
		tx := t.begin()
		own := t.another("own", task.Replace)
		twice := t.another("own", task.Replace)
		t.addAllIn(tx, []task.NewTask{by, own}, []task.AddResult{{ID: old.ID, Outcome: task.OutcomeReplaced}, {ID: own.ID}})
		t.addAllIn(tx, []task.NewTask{twice}, []task.AddResult{{ID: own.ID, Outcome: task.OutcomeReplaced}})
		t.rollback(tx)
		if c := t.claimOnly(old.ID); string(c.Payload) != string(old.Payload) {
			t.Errorf("claimed the payload %s", c.Payload)
		}
	}},
}

// waits adds a task with a key.
func (t *txT) waits(key string) task.NewTask {
	t.Helper()
	n := t.another(key, task.Existing)
	t.addAll([]task.NewTask{n}, []task.AddResult{{ID: n.ID}})
	return n
}
