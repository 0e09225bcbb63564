package pgstore

import (
	"errors"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// A process that is stopped, with an open transaction that ends one of its runs, is taken for dead.
func TestReclaim_ARunThatIsEndingInAnOpenTransactionHoldsBackNoOther(t *testing.T) {
	b := newRig(t)
	for n := range 40 {
		b.add(task.NewTask{ID: testID(n)})
	}
	got := b.claim(40)
	tx := b.begin()
	if err := b.store.FinishTx(t.Context(), Tx(tx), success(got[17])); err != nil {
		t.Fatal(err)
	}
	reclaim := func() task.ReclaimReply {
		t.Helper()
		left, err := b.store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: b.seq, Max: 100})
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	take := func(tasks []task.Task) []error {
		var all []task.Change
		for _, held := range tasks {
			c := success(held)
			c.Status, c.Reason, c.Reclaimed = task.StatusInterrupted, task.ReasonLost, true
			all = append(all, c)
		}
		return b.store.Apply(t.Context(), all)
	}
	left := reclaim()
	if len(left.Tasks) != 40 {
		t.Fatalf("%d tasks are held", len(left.Tasks))
	}
	began := time.Now()
	for i, err := range take(left.Tasks) {
		ending := left.Tasks[i].ID == got[17].ID
		if (err != nil) != ending || errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("%s: %v", left.Tasks[i].ID, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left = reclaim(); len(left.Tasks) != 1 || left.Tasks[0].ID != got[17].ID {
		t.Fatalf("%d tasks are held afterwards", len(left.Tasks))
	}
	if errs := take(left.Tasks); errs[0] != nil {
		t.Error(errs[0])
	}
	if left = reclaim(); !left.Done {
		t.Errorf("%+v", left)
	}
}
