package pgstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// failedTasks returns n tasks with keys that have failed, as they are listed.
func (b *rig) failedTasks(n int) (seen []task.Standing) {
	b.Helper()
	for i := range n {
		b.add(task.NewTask{ID: testID(i), Key: fmt.Sprint(i)})
	}
	for _, run := range b.claim(n) {
		c := success(run)
		c.Status = task.StatusFailed
		if errs := b.store.Apply(b.Context(), []task.Change{c}); errs[0] != nil {
			b.Fatal(errs[0])
		}
	}
	for _, t := range b.find(task.Query{Status: task.StatusFailed, Brief: true}) {
		seen = append(seen, task.Standing{ID: t.ID, Status: t.Status, Created: t.Created, Since: t.Since})
	}
	if len(seen) != n {
		b.Fatalf("%d have failed, want %d", len(seen), n)
	}
	return seen
}

func TestControlAll_AKeyInAnOpenTransactionKeepsNoOtherTaskFromBeingRetried(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	seen := b.failedTasks(20)
	tx, err := b.store.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), b.store.sql(`insert into @.keys (kind, key, task) select kind, key, gen_random_uuid() from @.tasks where id = $1`), seen[7].ID); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i, err := range b.store.ControlAll(t.Context(), task.Command{Verb: task.VerbRetry}, seen) {
		if want := map[bool]error{true: task.ErrKeyBusy}[i == 7]; !errors.Is(err, want) {
			t.Errorf("the task %d: %v, want %v", i, err, want)
		}
	}
	t.Logf("it took %v", time.Since(began))
	if left := b.find(task.Query{Status: task.StatusFailed}); len(left) != 1 || left[0].ID != seen[7].ID {
		t.Errorf("left: %v", ids(left))
	}
}

func TestControlAll_ARowThatIsLockedIsPassedOver(t *testing.T) {
	b := newRig(t)
	seen := b.failedTasks(5)
	tx, err := b.store.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), b.store.sql(`select 1 from @.ended where task = $1 for update`), seen[2].ID); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{4, 1} {
		done := 0
		for _, err := range b.store.ControlAll(t.Context(), task.Command{Verb: task.VerbDelete}, seen) {
			if err == nil {
				done++
			} else if !errors.Is(err, task.ErrChanged) {
				t.Error(err)
			}
		}
		if done != want {
			t.Errorf("%d deleted, want %d", done, want)
		}
		_ = tx.Rollback(t.Context())
	}
}

func TestControlAll_RefusesMoreThanItMayDoAtOnce(t *testing.T) {
	b := newRig(t)
	errs := b.store.ControlAll(t.Context(), task.Command{Verb: task.VerbDelete}, make([]task.Standing, task.MaxControl+1))
	if len(errs) != task.MaxControl+1 || !errors.Is(errs[0], task.ErrInvalid) {
		t.Errorf("%d answers, %v", len(errs), errs[0])
	}
}

// A task that is listed twice is retried once, and one without urgency does not make claims begin
// at the front again.
func TestControlAll_RetriesOnceAndLeavesTheCursorsOfTheSamePriority(t *testing.T) {
	b := newRig(t)
	seen := b.failedTasks(3)
	b.fillReady(10, 20, "default")
	b.store.Wake()
	mustExec(t, b.store, `update @.ready set run_at = run_at - interval '1 minute'`)
	b.claim(5)
	cursor := func() position { return b.store.scan.cursors[route{"k", "default"}.number()].next }
	before := cursor()
	if before == front {
		t.Fatal("there is no cursor")
	}
	retry := func(seen ...task.Standing) []error {
		return b.store.ControlAll(t.Context(), task.Command{Verb: task.VerbRetry}, seen)
	}
	if errs := retry(seen[0], seen[1], seen[0]); errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], task.ErrChanged) {
		t.Errorf("%v", errs)
	}
	if cursor() != before {
		t.Errorf("the cursor has moved from %+v to %+v", before, cursor())
	}
	mustExec(t, b.store, `update @.tasks set priority = 1 where id = $1`, seen[2].ID)
	if err := errors.Join(retry(seen[2])...); err != nil || cursor() != front {
		t.Errorf("%v, the cursor is at %+v", err, cursor())
	}
	if got := b.claim(1); got[0].ID != seen[2].ID {
		t.Errorf("%s is claimed before the urgent one", got[0].ID)
	}
}
