package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// many claims n new tasks at once.
func (b *rig) many(n int) []task.Task {
	b.Helper()
	var tasks []task.NewTask
	for i := range n {
		tasks = append(tasks, task.NewTask{ID: testID(i), Payload: []byte("{}")})
	}
	b.add(tasks...)
	return b.claim(n)
}

func interruption(t task.Task) task.Change {
	c := success(t)
	c.Status, c.Reason = task.Interrupted, task.ReasonStop
	c.Counters.Interruptions++
	c.Counters.InterruptStreak++
	return c
}

// apply makes a change of each task, and fails the test for every error.
func (b *rig) apply(change func(task.Task) task.Change, tasks ...task.Task) {
	b.Helper()
	for i, err := range b.store.Apply(b.Context(), changes(change, tasks)) {
		if err != nil {
			b.Fatalf("%s: %v", tasks[i].ID, err)
		}
	}
}

func changes(change func(task.Task) task.Change, tasks []task.Task) (all []task.Change) {
	for _, t := range tasks {
		all = append(all, change(t))
	}
	return all
}

// number reads one.
func (b *rig) number(sql string, args ...any) (n int) {
	b.Helper()
	if err := b.store.pool.QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

func (b *rig) find(q task.Query) []task.Task {
	b.Helper()
	got, err := b.store.Find(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	return got
}

// counts checks how many tasks have each status.
func (b *rig) counts(want map[task.Status]int) {
	b.Helper()
	counts, err := b.store.Count(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	got := make(map[task.Status]int)
	for _, c := range counts.Tasks {
		got[c.Status] += c.N
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("counted %v, want %v", got, want)
	}
}

func TestManyPlainSuccessesAreAFewRows(t *testing.T) {
	b := newRig(t)
	got := b.many(250)
	b.apply(success, got...)
	if rows := b.number(`select count(*) from lastcall.successes`); rows != 3 {
		t.Errorf("250 successes are %d rows, want 3", rows)
	}
	if written := b.number(`select count(*) from lastcall.tasks where run is not null`); written != 0 {
		t.Errorf("%d rows of tasks were written", written)
	}
	b.counts(map[task.Status]int{task.Succeeded: 250})
	all := b.find(task.Query{Limit: 1000})
	if len(all) != 250 {
		t.Fatalf("%d tasks were found", len(all))
	}
	for _, found := range all {
		if found.Status != task.Succeeded || found.Runs != 1 || found.Run != got[0].Run || found.Worker != "w" || !found.Started.Equal(got[0].Started) ||
			found.Finished.Before(found.Started) {
			t.Fatalf("%+v", found)
		}
	}
	for _, err := range b.store.Apply(t.Context(), changes(success, got)) {
		if err != nil {
			t.Fatalf("a repetition: %v", err)
		}
	}
	for _, err := range b.store.Apply(t.Context(), changes(interruption, got)) {
		if !errors.Is(err, task.ErrAlreadyFinished) {
			t.Fatalf("another outcome: %v", err)
		}
	}
	b.counts(map[task.Status]int{task.Succeeded: 250})
}

func TestOnlyEndsThatLeaveNothingElseAndAreManyStandOnSheets(t *testing.T) {
	for name, rare := range map[string]struct {
		n      int
		change func(*task.Change)
		sheets int
	}{
		"enough":             {n: sheetFrom, sheets: 1},
		"too few":            {n: sheetFrom - 1},
		"with a result":      {n: sheetFrom, change: func(c *task.Change) { c.Result = []byte("1") }},
		"with a log":         {n: sheetFrom, change: func(c *task.Change) { c.Log = []byte("line\n") }},
		"with progress":      {n: sheetFrom, change: func(c *task.Change) { c.Progress = &task.Progress{Fraction: 1} }},
		"with a checkpoint":  {n: sheetFrom, change: func(c *task.Change) { c.Checkpoint = []byte("1") }},
		"failed":             {n: sheetFrom, change: func(c *task.Change) { c.Status = task.Failed }},
		"one with a log":     {n: sheetFrom + 1, sheets: 1, change: nil},
		"interrupted":        {n: sheetFrom, sheets: 1, change: func(c *task.Change) { c.Status, c.Reason = task.Interrupted, task.ReasonStop }},
		"interrupted, error": {n: sheetFrom, change: func(c *task.Change) { c.Status, c.Reason, c.Error = task.Interrupted, task.ReasonStop, "e" }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRig(t)
			all := changes(success, b.many(rare.n))
			for i := range all {
				if rare.change != nil {
					rare.change(&all[i])
				}
			}
			if name == "one with a log" {
				all[3].Log = []byte("line\n")
			}
			for _, err := range b.store.Apply(t.Context(), all) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if n := b.number(`select (select count(*) from lastcall.successes) + (select count(*) from lastcall.interruptions)`); n != rare.sheets {
				t.Errorf("%d sheets, want %d", n, rare.sheets)
			}
			for i, found := range b.find(task.Query{Limit: 100}) {
				if want := all[len(all)-1-i]; found.ID != want.Task || found.Status != want.Status {
					t.Errorf("%s is %s", found.ID, found.Status)
				}
			}
		})
	}
}

// Who looks for a task reads the sheets that may have it: their span is bounded, and the view knows the bound.
func TestASheetSpansATimeThatItsReadersLookBack(t *testing.T) {
	b := newRig(t)
	ids := func(first, step int) (tasks []task.NewTask) {
		for i := range sheetFrom + 1 {
			ms := 1_700_000_000_000 + first + i*step
			tasks = append(tasks, task.NewTask{ID: fmt.Sprintf("%08x-%04x-7000-8000-%012d", ms>>16, ms&0xffff, i)})
		}
		return tasks
	}
	near := ids(0, 1)
	near[sheetFrom] = ids(maxSpan-sheetFrom, 1)[sheetFrom] // as far as it may be
	far := ids(1_000_000, maxSpan)
	random := ids(0, 0)
	for i := range random {
		random[i].ID = fmt.Sprintf("%02x000000-0000-4000-8000-%012d", 7*i+20, i)
	}
	for name, tasks := range map[string][]task.NewTask{"near": near, "far": far, "random": random} {
		b.add(tasks...)
		before := b.number(`select count(*) from lastcall.successes`)
		b.apply(success, b.claim(len(tasks))...)
		if sheets := b.number(`select count(*) from lastcall.successes`) - before; (sheets == 1) != (name == "near") {
			t.Errorf("%s: %d sheets", name, sheets)
		}
		for _, n := range tasks {
			if got := b.find(task.Query{IDs: []string{n.ID}}); len(got) != 1 || got[0].Status != task.Succeeded {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	if got := b.find(task.Query{Status: task.Succeeded, Limit: 1000}); len(got) != 3*(sheetFrom+1) {
		t.Errorf("%d tasks have succeeded", len(got))
	}
}

func TestAListingOfWhatSucceededHasRowsAndSheetsInTheirOrder(t *testing.T) {
	b := newRig(t)
	got := b.many(300)
	var rows, sheets []task.Task
	for i, one := range got {
		if i%3 == 0 {
			rows = append(rows, one)
		} else {
			sheets = append(sheets, one)
		}
	}
	b.apply(func(t task.Task) task.Change {
		c := success(t)
		c.Result = []byte("1")
		return c
	}, rows...)
	b.apply(success, sheets[:150]...)
	b.apply(success, sheets[150:]...)
	var listed []string
	for q := (task.Query{Status: task.Succeeded, Kind: "k", Limit: 7}); ; {
		page := b.find(q)
		for _, one := range page {
			listed = append(listed, one.ID)
		}
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].ID
	}
	var want []string
	for _, one := range slices.Backward(got) {
		want = append(want, one.ID)
	}
	if !slices.Equal(listed, want) {
		t.Errorf("listed %d tasks: %v", len(listed), listed)
	}
}

func TestSheetsArePrunedWithTheirTasks(t *testing.T) {
	b := newRig(t)
	got := b.many(250)
	b.apply(success, got[:200]...)
	prune := func() (n int) {
		t.Helper()
		for req := (task.PruneRequest{Max: 30}); ; {
			done, err := b.store.Prune(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			n += done.Tasks
			if req.After = done.Next; done.Next == "" {
				return n
			}
		}
	}
	if n := prune(); n != 0 {
		t.Fatalf("%d tasks pruned whose claim has others that run", n)
	}
	b.apply(success, got[200:]...)
	if n := prune(); n != 250 {
		t.Errorf("%d tasks pruned, want 250", n)
	}
	if left := b.number(`select (select count(*) from lastcall.tasks) + (select count(*) from lastcall.successes)`); left != 0 {
		t.Errorf("%d rows are left", left)
	}
	b.counts(map[task.Status]int{})
}

func TestInterruptionsOnSheetsAreSeenAndClaimedAgain(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	b.apply(interruption, got...)
	if n := b.number(`select count(*) from lastcall.ready`); n != 0 {
		t.Fatalf("%d tasks were put back at once", n)
	}
	b.counts(map[task.Status]int{task.Interrupted: 100})
	for _, found := range b.find(task.Query{Status: task.Interrupted}) {
		if found.Reason != task.ReasonStop || found.Interruptions != 1 || found.InterruptStreak != 1 || found.Runs != 1 || found.Run != got[0].Run {
			t.Fatalf("%+v", found)
		}
	}
	history := func(want int) {
		t.Helper()
		runs, err := b.store.History(t.Context(), got[0].ID)
		if err != nil || len(runs) != want || runs[0].Status != task.Interrupted || runs[0].Reason != task.ReasonStop || runs[0].Run != got[0].Run {
			t.Errorf("history %+v, %v", runs, err)
		}
	}
	history(1)
	again := b.claim(100)
	history(2)
	b.counts(map[task.Status]int{task.Running: 100})
	if again[0].ID != got[0].ID || again[0].Runs != 2 || again[0].Run <= got[0].Run || again[0].Reason != task.ReasonStop {
		t.Errorf("%+v", again[0])
	}
	if errs := b.store.Apply(t.Context(), changes(interruption, got)); slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		t.Errorf("a repetition, while the next run is under way: %v", errs)
	}
	b.apply(interruption, again...) // the second time costs no checkpoint: it waits
	b.counts(map[task.Status]int{task.Interrupted: 100})
	history(2)
}

func TestACommandFindsATaskOnASheet(t *testing.T) {
	b := newRig(t)
	got := b.many(100)
	b.apply(success, got[:50]...)
	b.apply(interruption, got[50:]...)
	for _, c := range []struct {
		verb task.Verb
		id   string
		want error
	}{
		{task.VerbCancel, got[0].ID, task.ErrAlreadyFinished},
		{task.VerbRetry, got[0].ID, task.ErrAlreadyFinished},
		{task.VerbInterrupt, got[0].ID, task.ErrNotRunning},
		{task.VerbInterrupt, got[50].ID, task.ErrNotRunning},
		{task.VerbCancel, got[51].ID, nil},
		{task.VerbRetry, got[52].ID, nil},
	} {
		if err := b.store.Control(t.Context(), task.Command{Verb: c.verb, Task: c.id}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.verb, err, c.want)
		}
	}
	b.counts(map[task.Status]int{task.Succeeded: 50, task.Interrupted: 49, task.Cancelled: 1})
	b.claim(49)
}

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
	tx, err := b.store.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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
	tx, err := b.store.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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
	tx, err := b.store.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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
	tx, err := b.store.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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
