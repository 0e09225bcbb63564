package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// What somebody asks of a run, and what ends it on a sheet, must not pass each other by.
func TestACancellationMeetsTheSheetOrTheRun(t *testing.T) {
	b := newRig(t)
	got := b.many(400)
	for at := 0; at < len(got); at += 40 {
		some := got[at : at+40]
		var both sync.WaitGroup
		both.Go(func() { b.apply(interruption, some...) })
		both.Go(func() {
			for _, one := range some[:4] {
				if err := b.store.Control(t.Context(), task.Command{Verb: task.VerbCancel, Task: one.ID}); err != nil {
					t.Error(err)
				}
			}
		})
		both.Wait()
	}
	b.counts(map[task.Status]int{task.Interrupted: 360, task.Cancelled: 40})
	b.beat(task.WorkerRunning)
	if n := b.number(`select count(*) from lastcall.asked`); n != 0 {
		t.Errorf("%d things are still asked of runs that have ended", n)
	}
}

// A process may be stopped in the middle of a command.
func TestACommandThatIsUnderWayHoldsBackNoOtherRun(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), `lock table lastcall.asked in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		if err := b.store.Control(t.Context(), task.Command{Verb: task.VerbCancel, Task: got[0].ID}); err != nil {
			t.Error(err)
		}
	})
	b.waiting(1)
	b.apply(success, got[1:]...)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	asking.Wait()
	b.apply(interruption, got[0])
	b.counts(map[task.Status]int{task.Succeeded: 99, task.Cancelled: 1})
}

const takenRounds = 8

// Who marks a worker dead waits for its sheets, and after that it has none.
func TestATakenRunIsOnNoSheet(t *testing.T) {
	dsn := pgtest.DSN(t)
	ours, theirs := openAt(t, Config{DSN: dsn, Migrate: true}), openAt(t, Config{DSN: dsn})
	defer closed(t, ours)
	defer closed(t, theirs)
	total, succeeded := 0, 0
	for round := range takenRounds {
		b := &rig{T: t, store: ours}
		worker := fmt.Sprintf("w%d", round)
		if _, err := ours.Heartbeat(t.Context(), task.Beat{Worker: worker, Seq: 1, State: task.WorkerRunning}); err != nil {
			t.Fatal(err)
		}
		var news []task.NewTask
		for i := range 300 {
			news = append(news, task.NewTask{ID: testID(1000*round + i)})
		}
		b.add(news...)
		var got []task.Task
		for len(got) < len(news) {
			some, err := ours.Claim(t.Context(), task.ClaimRequest{Worker: worker, Max: 1000, Kinds: []task.KindClaim{{Kind: "k", Max: 1000}}})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, some...)
		}
		total += len(got)
		var (
			both sync.WaitGroup
			errs []error
		)
		both.Go(func() {
			for from := 0; from < len(got); from += 50 {
				errs = append(errs, ours.Apply(t.Context(), changes(success, got[from:min(from+50, len(got))]))...)
			}
		})
		both.Go(func() {
			for done := false; !done; {
				left, err := theirs.Reclaim(t.Context(), task.ReclaimRequest{Worker: worker, Seq: 1, Max: 100})
				if err != nil {
					t.Error(err)
					return
				}
				done = left.Done
				theirs.Apply(t.Context(), changes(func(t task.Task) task.Change { // some have ended meanwhile
					c := interruption(t)
					c.Reason, c.Taken = task.ReasonLost, true
					return c
				}, left.Tasks))
			}
		})
		both.Wait()
		now := make(map[string]task.Task)
		for _, found := range b.find(task.Query{Limit: 10_000}) {
			now[found.ID] = found
		}
		for i, err := range errs {
			found := now[got[i].ID]
			switch {
			case err == nil && found.Status == task.Succeeded:
				succeeded++
			case errors.Is(err, task.ErrLeaseLost) && found.Status == task.Interrupted && found.Reason == task.ReasonLost:
			default:
				t.Fatalf("the answer was %v, and the task is %s (%s)", err, found.Status, found.Reason)
			}
		}
	}
	t.Logf("%d of %d runs ended before they were taken", succeeded, total)
	b := &rig{T: t, store: ours}
	want := map[task.Status]int{task.Succeeded: succeeded}
	if n := takenRounds*300 - succeeded; n > 0 {
		want[task.Interrupted] = n
	}
	b.counts(want)
}

// An open transaction that ends some runs holds back no other of their claim, and those runs do not end twice.
func TestARunThatEndsInATransactionIsOnNoSheet(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	tx := b.begin()
	for _, one := range got[:sheetFrom] {
		if err := b.store.FinishTx(t.Context(), Tx(tx), success(one)); err != nil {
			t.Fatal(err)
		}
	}
	b.apply(success, got[sheetFrom:]...)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.apply(success, got[:sheetFrom]...)
	b.counts(map[task.Status]int{task.Succeeded: 100})
}

// Runs whose claim's answer was lost are known again once they have been asked for.
func TestARunThatWasFoundAgainHoldsBackNoOtherInATransaction(t *testing.T) {
	b := newRig(t)
	b.many(3)
	b.store.holdings.open = nil // as if the answer had been lost
	b.seq++
	reply, err := b.store.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: b.seq, State: task.WorkerRunning, Complete: true})
	if err != nil || len(reply.Unlisted) != 3 {
		t.Fatalf("%+v, %v", reply, err)
	}
	tx := b.begin()
	if err := b.store.FinishTx(t.Context(), Tx(tx), success(reply.Unlisted[0])); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, err := range b.store.Apply(ctx, changes(success, reply.Unlisted[1:])) {
		if err != nil {
			t.Error(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.counts(map[task.Status]int{task.Succeeded: 3})
}

// Another process that has a run's fence may end it, and the one that has the run must not end it again.
func TestARunThatAnotherProcessEndedIsOnNoSheet(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	theirs := openAt(t, Config{DSN: b.store.pool.Config().ConnString()})
	defer closed(t, theirs)
	failure := func(t task.Task) task.Change {
		c := success(t)
		c.Status = task.Failed
		return c
	}
	for _, err := range theirs.Apply(t.Context(), changes(failure, got[:sheetFrom])) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range b.store.Apply(t.Context(), changes(success, got)) {
		if ended := i < sheetFrom; ended != errors.Is(err, task.ErrAlreadyFinished) || !ended && err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	b.counts(map[task.Status]int{task.Failed: sheetFrom, task.Succeeded: 100 - sheetFrom})
}

func TestWhoMarksAWorkerDeadWaitsForItsSheets(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), `select 1 from lastcall.claims for update`); err != nil {
		t.Fatal(err)
	}
	var (
		both sync.WaitGroup
		left task.Reclaimed
	)
	both.Go(func() { b.apply(success, got...) })
	b.waiting(1) // for the claim's row, and has the worker's
	both.Go(func() {
		var err error
		if left, err = b.store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: b.seq, Max: 100}); err != nil {
			t.Error(err)
		}
	})
	b.waiting(2)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	if len(left.Tasks) != 0 || !left.Done {
		t.Errorf("%d runs were there to be taken whose end was being written", len(left.Tasks))
	}
	b.counts(map[task.Status]int{task.Succeeded: 100})
}

// waiting waits until so many statements wait for somebody's lock.
func (b *rig) waiting(n int) {
	b.Helper()
	for ctx := soon(b.T); b.number(`select count(*) from pg_stat_activity where wait_event_type = 'Lock'`) < n; {
		if ctx.Err() != nil {
			b.Fatalf("fewer than %d statements wait", n)
		}
	}
}

func TestALostAnswerOfASheetIsFoundOut(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	key := held{worker: "w", run: got[0].Run}
	known := func() *holding { // a copy
		of := b.store.holdings.open[key]
		tasks := make(map[[16]byte]holds, len(of.tasks))
		for id, h := range of.tasks {
			tasks[id] = h
		}
		return &holding{tasks: tasks, rows: of.rows}
	}
	// It never came to be written: somebody had the claim's row.
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), `select 1 from lastcall.claims for update`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	for _, err := range b.store.Apply(ctx, changes(success, got[:50])) {
		if err == nil {
			t.Fatal("written although the claim's row was locked")
		}
	}
	cancel()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := known()
	b.apply(success, got[:50]...)
	b.counts(map[task.Status]int{task.Succeeded: 50, task.Running: 50})

	// It was written, and the process does not know.
	b.store.holdings.open[key] = before
	b.apply(success, got[:50]...)
	b.store.holdings.open[key] = before
	var all []item
	for _, c := range changes(success, got[50:]) {
		id, _ := parseID(c.Task)
		all = append(all, item{Change: &c, key: id})
	}
	after := known()
	b.apply(success, got[50:]...)
	b.store.holdings.open[key] = after
	b.store.holdings.doubt(all)
	b.apply(success, got[50:]...)
	b.counts(map[task.Status]int{task.Succeeded: 100})
}
