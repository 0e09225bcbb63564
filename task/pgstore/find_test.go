package pgstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// record is a row of the view task_records.
type record struct {
	ID                                     string
	Kind, Queue                            string
	Key                                    *string
	Meta                                   map[string]string
	Priority                               int
	Status                                 string
	Reason, Error                          *string
	Created, Since                         time.Time
	RunAt, Started, Finished               *time.Time
	Run                                    *int64
	Runs, Attempts, Interruptions, Crashes int
	Worker, Host                           *string
	Fraction                               *float64
	Message                                *string
	CheckpointSize                         *int
	CheckpointSaved                        *time.Time
	Payload, Result                        []byte
}

// value returns what a column has, and the zero value for null.
func value[T any](column *T) (v T) {
	if column != nil {
		v = *column
	}
	return v
}

// records returns the rows of the view, by their ids.
func (b *rig) records() map[string]record {
	b.Helper()
	rows, err := b.store.pool.Query(b.Context(), `select id::text, kind, queue, key, meta, priority, status, reason, error, created, since, run_at, started, finished,
		run, runs, attempts, interruptions, crashes, worker, host, fraction, message, checkpoint_size, checkpoint_saved, payload, result from lastcall.task_records`)
	if err != nil {
		b.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record])
	if err != nil {
		b.Fatal(err)
	}
	byID := make(map[string]record, len(all))
	for _, r := range all {
		if _, twice := byID[r.ID]; twice {
			b.Errorf("%s is there twice", r.ID)
		}
		byID[r.ID] = r
	}
	return byID
}

// task returns a record as Find would return it.
func (r record) task() task.Task {
	t := task.Task{
		ID: r.ID, Kind: r.Kind, Queue: r.Queue, Key: value(r.Key), Payload: r.Payload, Meta: r.Meta, Priority: r.Priority,
		Status: task.Status(r.Status), Reason: task.Reason(value(r.Reason)), Error: value(r.Error),
		Created: r.Created, Since: r.Since, RunAt: r.Created, Started: value(r.Started), Finished: value(r.Finished),
		Run: value(r.Run), Runs: r.Runs, Worker: value(r.Worker), Result: r.Result,
		Progress: task.Progress{Fraction: value(r.Fraction), Message: value(r.Message)},
	}
	t.Attempts, t.Interruptions, t.Crashes = r.Attempts, r.Interruptions, r.Crashes
	if r.RunAt != nil {
		t.RunAt = *r.RunAt
	}
	return t
}

// lives puts tasks into every table where a task may be, with and without data that they have
// saved.
func (b *rig) lives() {
	b.Helper()
	const n = 14
	for i := range n {
		b.add(task.NewTask{ID: testID(i), Payload: []byte(fmt.Sprint(i)), Priority: n - i, Key: []string{"", fmt.Sprint(i)}[i%2],
			Meta: []map[string]string{nil, {"tenant": fmt.Sprint(i)}, {"a": ""}}[i%3]})
	}
	got := b.claim(n)
	left := func(status task.Status, at int, with bool) {
		c := success(got[at])
		c.Status = status
		c.Counters.Attempts++
		if status == task.StatusInterrupted {
			c.Reason = task.ReasonStop
			c.Counters = task.Counters{Interruptions: 2, Crashes: 1}
		}
		if with {
			c.Progress, c.Checkpoint = &task.Progress{Fraction: 0.25, Message: "a quarter"}, []byte("four")
			c.Error = "of the run"
			if status == task.StatusSucceeded {
				c.Result, c.Error = []byte("result"), ""
			}
		}
		if errs := b.store.Apply(b.Context(), []task.Change{c}); errs[0] != nil {
			b.Fatal(errs[0])
		}
	}
	for i, status := range []task.Status{task.StatusRunning, task.StatusSucceeded, task.StatusFailed, task.StatusCancelled, task.StatusInterrupted, task.StatusQueued} {
		left(status, 2*i, false)
		left(status, 2*i+1, true)
	}
	left(task.StatusQueued, 12, true)
	left(task.StatusInterrupted, 13, true)
	again := b.claim(6)
	for _, run := range again {
		if run.ID == got[12].ID || run.ID == got[13].ID {
			continue // these run again
		}
		c := interruption(run)
		c.Error = "of the second run"
		if errs := b.store.Apply(b.Context(), []task.Change{c}); errs[0] != nil {
			b.Fatal(errs[0])
		}
	}
	b.mustControl(task.VerbCancel, got[11].ID) // which waits, and has run twice
	b.add(task.NewTask{ID: testID(100)}, task.NewTask{ID: testID(101), Delay: time.Hour, Key: "later"}, task.NewTask{ID: testID(102)})
	b.mustControl(task.VerbCancel, testID(102)) // which has never run
}

func TestTaskRecords_AreWhatFindReturns(t *testing.T) {
	b := newRig(t)
	b.lives()
	records := b.records()
	all := b.find(task.Query{})
	if len(records) != len(all) {
		t.Errorf("%d records, and %d tasks", len(records), len(all))
	}
	statuses := make(map[task.Status]int)
	for _, found := range all {
		statuses[found.Status]++
		r := records[found.ID]
		got := r.task()
		// These are not in the view.
		got.CrashStreak, got.InterruptStreak, got.Limits, got.Checkpoint = found.CrashStreak, found.InterruptStreak, found.Limits, found.Checkpoint
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", found) {
			t.Errorf("the record of a task that is %s:\n%+v\nand Find:\n%+v", found.Status, got, found)
		}
		if size := value(r.CheckpointSize); size != len(found.Checkpoint) || (r.CheckpointSaved != nil) != (size > 0) {
			t.Errorf("%s: a checkpoint of %d bytes, saved %v, and Find has %d", found.ID, size, r.CheckpointSaved, len(found.Checkpoint))
		}
	}
	for _, status := range task.Statuses() {
		if statuses[status] == 0 {
			t.Errorf("this test shows nothing of tasks that are %s", status)
		}
	}
}

// For few rows the first look is enough; for many, another statement must give the same answer.
func TestFind_ListsTheSameByEitherWay(t *testing.T) {
	b := newRig(t)
	b.fillReady(1, fewRows+2000, "default")
	b.fillReady(50_001, 50_100, "other")
	mustExec(t, b.store, `update @.ready set queued = false where id in ($1, $2, $3)`, testID(7), testID(15_000), testID(50_050))
	mustExec(t, b.store, `with moved as (delete from @.ready where id = $1 returning *) insert into @.delayed (created, id, run_at, route, sort_priority, queued, kind, queue) select created, id, run_at, route, sort_priority, queued, kind, queue from moved`, testID(15_000))
	for _, c := range []struct {
		q    task.Query
		want []string
	}{
		{task.Query{Kind: "k", Status: task.StatusInterrupted}, []string{testID(50_050), testID(15_000), testID(7)}},
		{task.Query{Kind: "k", Status: task.StatusInterrupted, Queue: "default"}, []string{testID(15_000), testID(7)}},
		{task.Query{Status: task.StatusInterrupted, Queue: "other"}, []string{testID(50_050)}},
		{task.Query{Status: task.StatusInterrupted}, []string{testID(50_050), testID(15_000), testID(7)}},
		{task.Query{Kind: "k", Status: task.StatusQueued, Queue: "other", Limit: 2}, []string{testID(50_100), testID(50_099)}},
		{task.Query{Kind: "k", Status: task.StatusQueued, Queue: "default", Limit: 2, After: testID(9)}, []string{testID(8), testID(6)}},
		{task.Query{Kind: "none", Status: task.StatusQueued}, nil},
	} {
		if got := ids(b.find(c.q)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
}

// The answer of each statement is compared with a filtering of all tasks.
func TestFind_AdmitsWhatAllFiltersAdmit(t *testing.T) {
	b := newRig(t)
	b.lives()
	if _, err := b.store.Add(t.Context(), []task.NewTask{{ID: testID(200), Kind: "other", Queue: "red"}, {ID: testID(201), Kind: "other", Queue: "default", Key: "1"}}); err != nil {
		t.Fatal(err)
	}
	all := b.find(task.Query{Limit: 1000})
	if !slices.IsSortedFunc(all, func(x, y task.Task) int { return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(y.ID, x.ID)) }) {
		t.Errorf("not the newest first: %v", ids(all))
	}
	for _, status := range append([]task.Status{"", "no status"}, task.Statuses()...) {
		for _, kind := range []string{"", "k", "other", "none"} {
			for _, queue := range []string{"", "default", "red", "none"} {
				for _, key := range []string{"", "1", "later", "none"} {
					for _, after := range []string{"", all[4].ID} {
						q := task.Query{Status: status, Kind: kind, Queue: queue, Key: key, After: after, Limit: 3}
						var want []string
						for _, one := range afterOf(all, after) {
							if (status == "" || one.Status == status) && (kind == "" || one.Kind == kind) && (queue == "" || one.Queue == queue) && (key == "" || one.Key == key) && len(want) < 3 {
								want = append(want, one.ID)
							}
						}
						if got := ids(b.find(q)); !slices.Equal(got, want) {
							t.Errorf("%+v: %v, want %v", q, got, want)
						}
					}
				}
			}
		}
	}
}

// afterOf returns the tasks of a listing that follow one of them.
func afterOf(all []task.Task, id string) []task.Task {
	for i := range all {
		if all[i].ID == id {
			return all[i+1:]
		}
	}
	return all
}

func TestFind_ReadsIDsInTheOrderOfAListing(t *testing.T) {
	b := newRig(t)
	b.fillReady(1, 9, "default")
	got := ids(b.find(task.Query{IDs: []string{testID(3), "none", testID(8), testID(70), testID(5), testID(3)}, Limit: 2}))
	if want := []string{testID(8), testID(5)}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := b.find(task.Query{IDs: []string{"none"}}); len(got) != 0 {
		t.Errorf("%v", ids(got))
	}
	if _, err := b.store.Find(t.Context(), task.Query{After: "none"}); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
