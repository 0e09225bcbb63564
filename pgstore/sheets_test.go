package pgstore

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

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
	if written := b.number(`select count(*) from lastcall.states`); written != 0 {
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
	b := newRig(t)
	sheets := func() int {
		return b.number(`select (select count(*) from lastcall.successes) + (select count(*) from lastcall.interruptions)`)
	}
	first := 0 // id of the next tasks
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
			before := sheets()
			var tasks []task.NewTask
			for i := range rare.n {
				tasks = append(tasks, task.NewTask{ID: testID(first + i), Payload: []byte("{}")})
			}
			first += rare.n
			b.add(tasks...)
			all := changes(success, b.claim(rare.n))
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
			if n := sheets() - before; n != rare.sheets {
				t.Errorf("%d sheets, want %d", n, rare.sheets)
			}
			for i, found := range b.find(task.Query{Limit: rare.n}) {
				if want := all[len(all)-1-i]; found.ID != want.Task || found.Status != want.Status {
					t.Errorf("%s is %s", found.ID, found.Status)
				}
			}
			for _, found := range b.find(task.Query{Status: task.Interrupted}) { // it would be claimed next
				if err := b.store.Control(t.Context(), task.Command{Verb: task.VerbCancel, Task: found.ID}); err != nil {
					t.Fatal(err)
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

// A claim that comes before the news, and does not look first, finds them too.
func TestAnotherProcessClaimsWhatStandsOnASheetAtOnce(t *testing.T) {
	b := newRig(t)
	b.apply(interruption, b.many(100)...)
	theirs := openAt(t, Config{DSN: b.store.pool.Config().ConnString()})
	defer closed(t, theirs)
	if err := theirs.readLanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs.claimer.busy, theirs.claimer.promoted = true, time.Now()
	if got := claims(t, theirs, "k"); len(got) != 100 {
		t.Errorf("%d tasks were claimed, want 100", len(got))
	}
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
