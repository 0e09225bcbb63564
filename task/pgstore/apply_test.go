package pgstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestApply_OfAnEndWhoseAnswerWasLostCountsItOnce(t *testing.T) {
	b := newFarRig(t)
	b.fillReady(0, 40, "default")
	got := b.claim(41)
	if errs := b.far.Apply(t.Context(), changes(success, got[:1])); errs[0] != nil {
		t.Fatal(errs[0])
	}
	ends := changes(success, got[1:])
	ends[3].Result = []byte("kept")
	b.losing(func() error { return errors.Join(b.far.Apply(t.Context(), ends)...) }, `select count(*) = 41 from @.ended`)
	for i, err := range b.far.Apply(t.Context(), ends) {
		if err != nil {
			t.Errorf("%s, once more: %v", ends[i].Task, err)
		}
	}
	b.counts(map[task.Status]int{task.StatusSucceeded: 41})
	if done, err := b.store.Prune(t.Context(), task.PruneRequest{Max: 100}); err != nil || done.Tasks != 41 {
		t.Errorf("%+v, %v", done, err)
	}
	b.counts(map[task.Status]int{})
}

func TestApply_OfAnInterruptionWhoseAnswerWasLostLeavesTheNextRunAlone(t *testing.T) {
	b := newFarRig(t)
	b.fillReady(0, 10, "default")
	got := b.claim(11)
	if errs := b.far.Apply(t.Context(), changes(interruption, got[:1])); errs[0] != nil {
		t.Fatal(errs[0])
	}
	ends := changes(interruption, got[1:])
	b.losing(func() error { return errors.Join(b.far.Apply(t.Context(), ends)...) }, `select count(*) = 11 from @.ready`)
	b.store.Wake()
	next := b.claim(11)
	for i, err := range b.far.Apply(t.Context(), ends) {
		if err != nil {
			t.Errorf("%s, once more: %v", ends[i].Task, err)
		}
	}
	b.counts(map[task.Status]int{task.StatusRunning: 11})
	b.end(next...)
	b.counts(map[task.Status]int{task.StatusSucceeded: 11})
}

func TestApply_MakesTheChangesOfOneTaskInTheirOrder(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 2, "default")
	var all []task.Change
	got := b.claim(3)
	for _, run := range got {
		for n := range 5 {
			c := success(run)
			c.Status, c.Log, c.Progress = task.StatusRunning, []byte(fmt.Sprint(n)), &task.Progress{Fraction: float64(n) / 10}
			c.Checkpoint = []byte{byte(n)}
			all = append(all, c)
		}
		all = append(all, success(run))
	}
	late := success(got[0])
	late.Status, late.Log = task.StatusRunning, []byte("too late")
	all = append(all, late)
	for i, err := range b.store.Apply(t.Context(), all) {
		if last := i == len(all)-1; last != (err != nil) || last && !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	for _, found := range b.find(task.Query{}) {
		if found.Status != task.StatusSucceeded || !slices.Equal(found.Checkpoint, []byte{4}) || found.Progress.Fraction != 0.4 {
			t.Errorf("%+v", found)
		}
		if log, err := b.store.Log(t.Context(), found.ID); err != nil || string(log) != "01234" {
			t.Errorf("the log is %q, %v", log, err)
		}
	}
}

func TestBatches_HoldChangesThatAreOfOneStatement(t *testing.T) {
	var all []task.Change
	for i := range 2*maxBatch + 1 {
		all = append(all, task.Change{Fence: task.Fence{Task: testID(i)}, Status: task.StatusSucceeded})
	}
	save := task.Change{Fence: task.Fence{Task: testID(3)}, Status: task.StatusRunning}
	all = append([]task.Change{save, save}, all...)
	all = append(all, task.Change{Fence: task.Fence{Task: "none"}})
	errs := make([]error, len(all))
	var sizes []string
	places := make(map[int]bool)
	for _, batch := range batches(items(all, errs)) {
		for i := range batch {
			if places[batch[i].place] = true; !batch[i].together(&batch[0]) {
				t.Errorf("%+v and %+v are in one statement", batch[i], batch[0])
			}
			if i > 0 && strings.Compare(batch[i-1].Task, batch[i].Task) >= 0 {
				t.Errorf("%s comes before %s", batch[i-1].Task, batch[i].Task)
			}
		}
		sizes = append(sizes, fmt.Sprint(len(batch)))
	}
	if got := strings.Join(sizes, " "); got != "1 1000 1000 1 1" && got != "1000 1000 1 1 1" {
		t.Errorf("statements of %s changes", got)
	}
	if len(places) != len(all)-1 || !errors.Is(errs[len(all)-1], task.ErrNotFound) {
		t.Errorf("%d changes, and for an id that is none %v", len(places), errs[len(all)-1])
	}
}

// A process may be stopped while it has a transaction open.
func TestApply_WaitsOnlyALittleForRunsThatAnOpenTransactionHas(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.fillReady(0, 99, "default")
	got := b.claim(100)
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), `select 1 from lastcall.running where task <= $1 for update`, testID(59)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	errs := b.store.Apply(t.Context(), changes(success, got))
	if took := time.Since(began); took > lockBudget+5*time.Second {
		t.Errorf("it took %v", took)
	}
	for i, run := range got {
		if locked := run.ID <= testID(59); locked != (errs[i] != nil) || locked && !errors.Is(errs[i], errHeldUp) {
			t.Errorf("%s: %v", run.ID, errs[i])
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.end(got...) // some of them once more
	b.counts(map[task.Status]int{task.StatusSucceeded: 100})
}

func TestVerdict_IsThatOfRuleNine(t *testing.T) {
	succeeded, interrupted := task.Change{Status: task.StatusSucceeded}, task.Change{Status: task.StatusInterrupted, Reason: task.ReasonStop}
	for _, c := range []struct {
		change    task.Change
		exists    bool
		status    task.Status
		reason    task.Reason
		reclaimed bool
		want      error
	}{
		{change: succeeded, want: task.ErrNotFound},
		{change: succeeded, exists: true, want: task.ErrLeaseLost},
		{change: succeeded, exists: true, status: task.StatusSucceeded},
		{change: succeeded, exists: true, status: task.StatusFailed, want: task.ErrAlreadyFinished},
		{change: succeeded, exists: true, status: task.StatusSucceeded, reclaimed: true, want: task.ErrLeaseLost},
		{change: task.Change{Status: task.StatusRunning}, exists: true, status: task.StatusSucceeded, want: task.ErrLeaseLost},
		{change: interrupted, exists: true, status: task.StatusInterrupted, reason: task.ReasonStop},
		{change: interrupted, exists: true, status: task.StatusInterrupted, reason: task.ReasonLost, want: task.ErrAlreadyFinished},
		{change: interrupted, exists: true, status: task.StatusCancelled},
		{change: succeeded, exists: true, status: task.StatusCancelled, want: task.ErrAlreadyFinished},
	} {
		if got := verdict(&c.change, c.exists, c.status, c.reason, c.reclaimed); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%+v: %v, want %v", c, got, c.want)
		}
	}
}

// Ten large results are not written ten times each, and no other row with them.
func TestApply_AStepWritesNoRowButItsOwn(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 0, "default")
	run := b.claim(1)[0]
	step := func(n int) task.Change {
		c := success(run)
		c.Status = task.StatusRunning
		c.Step = &task.StepRecord{Name: fmt.Sprint("step-", n), State: task.StepDone, Place: n, Body: bytes.Repeat([]byte("x"), 100<<10)}
		return c
	}
	for n := range 10 {
		if err := b.store.Apply(t.Context(), []task.Change{step(n + 1)})[0]; err != nil {
			t.Fatal(err)
		}
	}
	b.untilCounted(`select count(*) = 10 and sum(length(body)) = 10 * 100 * 1024 from @.checkpoints`)
	b.untilCounted(`select n_tup_ins = 10 and n_tup_upd = 0 from pg_stat_user_tables where relid = '@.checkpoints'::regclass`)
}

// New steps are inserted without a look. A batch in which one is recorded already is written with
// the look.
func TestApply_AStepWhoseAnswerWasLostIsWrittenOnceMoreWithItsBatch(t *testing.T) {
	if q := newRig(t).store.q; strings.Count(q.SaveRuns, "on conflict (task, step)") != 2 || strings.Count(q.SaveNew, "on conflict (task, step)") != 1 {
		t.Fatalf("a new step is looked for:\n%s", q.SaveNew)
	}
	b := newFarRig(t)
	b.fillReady(0, 2, "default")
	var steps []task.Change
	for _, run := range b.claim(3) {
		c := success(run)
		c.Status, c.Step = task.StatusRunning, &task.StepRecord{Name: "step", State: task.StepDone, Place: 1, Body: []byte(`"first"`)}
		steps = append(steps, c)
	}
	if err := errors.Join(b.far.Apply(t.Context(), steps[:1])...); err != nil {
		t.Fatal(err)
	}
	again := steps[1]
	b.losing(func() error { return errors.Join(b.far.Apply(t.Context(), steps[1:2])...) }, `select count(*) = 2 from @.checkpoints`)
	again.Step = &task.StepRecord{Name: "step", State: task.StepDone, Place: 1, Body: []byte(`"again"`)}
	if err := errors.Join(b.far.Apply(t.Context(), []task.Change{again, steps[2]})...); err != nil {
		t.Fatal(err)
	}
	b.untilCounted(`select array_agg(convert_from(body, 'UTF8') order by body) = '{"\"again\"", "\"first\"", "\"first\""}' from @.checkpoints`)
}
