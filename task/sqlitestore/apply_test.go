package sqlitestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// claimed adds n tasks and claims them for worker w.
func claimed(t *testing.T, s *Store, n int) []task.Task {
	t.Helper()
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	var many []task.NewTask
	for i := range n {
		many = append(many, task.NewTask{ID: id(i), Kind: "k", Queue: "default"})
	}
	if _, err := s.Add(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: n, Kinds: []task.KindClaim{{Kind: "k", Max: n}}})
	if err != nil || len(got) != n {
		t.Fatalf("%d tasks claimed, %v", len(got), err)
	}
	return got
}

func endOf(c task.Task, status task.Status) task.Change {
	return task.Change{Fence: task.Fence{Task: c.ID, Run: c.Run, Worker: c.Worker}, Status: status, Counters: c.Counters}
}

func TestApply_ChangesOfOneTaskInOneCallFollowEachOther(t *testing.T) {
	s, _ := fresh(t)
	c := claimed(t, s, 1)[0]
	save, more, end := endOf(c, task.StatusRunning), endOf(c, task.StatusRunning), endOf(c, task.StatusSucceeded)
	save.Checkpoint, save.Log = []byte("first"), []byte("one\n")
	more.Checkpoint, more.Log = []byte("second"), []byte("two\n")
	end.Log, end.Result = []byte("three\n"), []byte("7")
	errs := s.Apply(t.Context(), []task.Change{save, more, end, end, save})
	for i, want := range []error{nil, nil, nil, nil, task.ErrLeaseLost} {
		if !errors.Is(errs[i], want) {
			t.Errorf("change %d: %v, want %v", i, errs[i], want)
		}
	}
	found, err := s.Find(t.Context(), task.Query{IDs: []string{c.ID}})
	if err != nil || len(found) != 1 || string(found[0].Checkpoint) != "second" || string(found[0].Result) != "7" {
		t.Errorf("%+v, %v", found, err)
	}
	if log, err := s.Log(t.Context(), c.ID); err != nil || string(log) != "one\ntwo\nthree\n" {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestApply_ManyChangesOfEverySortAreAsIfEachWereAlone(t *testing.T) {
	const n = 2*maxPortion + 77
	s, _ := fresh(t)
	got := claimed(t, s, n)
	statuses := []task.Status{task.StatusRunning, task.StatusSucceeded, task.StatusFailed, task.StatusInterrupted, task.StatusQueued, task.StatusCancelled}
	changes := make([]task.Change, n)
	for i, c := range got {
		changes[i] = endOf(c, statuses[i%len(statuses)])
		ch := &changes[i]
		ch.Counters.Attempts = i
		switch i % 7 {
		case 1:
			ch.Checkpoint = fmt.Append(nil, i)
		case 2:
			ch.Progress = &task.Progress{Fraction: 0.5, Message: fmt.Sprint(i)}
		case 3:
			ch.Log = fmt.Appendf(nil, "%d\n", i)
		case 4:
			ch.Result = fmt.Append(nil, i)
		case 5:
			ch.Delay = time.Hour
		}
		if i%11 == 0 {
			ch.Run++ // a run that is not held
		}
	}
	errs := s.Apply(t.Context(), changes)
	all := foundByID(t, s, got)
	for i, c := range changes {
		f := all[c.Task]
		log, err := s.Log(t.Context(), c.Task)
		if err != nil {
			t.Fatal(err)
		}
		if i%11 == 0 {
			if !errors.Is(errs[i], task.ErrLeaseLost) || f.Status != task.StatusRunning || f.Attempts != 0 || f.Checkpoint != nil {
				t.Errorf("%d, which is not held: %v, %+v", i, errs[i], f)
			}
			continue
		}
		var progress task.Progress
		if c.Progress != nil {
			progress = *c.Progress
		}
		result := c.Result
		if c.Status != task.StatusSucceeded {
			result = nil
		}
		if errs[i] != nil || f.Status != c.Status || f.Attempts != i || !bytes.Equal(f.Checkpoint, c.Checkpoint) || f.Progress != progress ||
			!bytes.Equal(f.Result, result) || !bytes.Equal(log, c.Log) {
			t.Errorf("%d: %v, %+v, log %q, want %+v", i, errs[i], f, log, c)
		}
	}
}

// foundByID finds tasks, all of which exist.
func foundByID(t *testing.T, s *Store, tasks []task.Task) map[string]task.Task {
	t.Helper()
	byID := make(map[string]task.Task)
	for some := range slices.Chunk(tasks, 100) {
		var ids []string
		for _, one := range some {
			ids = append(ids, one.ID)
		}
		found, err := s.Find(t.Context(), task.Query{IDs: ids})
		if err != nil || len(found) != len(some) {
			t.Fatalf("%d of %d, %v", len(found), len(some), err)
		}
		for _, one := range found {
			byID[one.ID] = one
		}
	}
	return byID
}

// refuse makes the database refuse rows that have a text in a column.
func refuse(t *testing.T, path, table, column, text string) {
	t.Helper()
	trigger := fmt.Sprintf(`create trigger refuse_%s before insert on %s when new.%s = '%s' begin select raise(abort, 'refused'); end`, table, table, column, text)
	if _, err := rawDB(t, path).ExecContext(t.Context(), trigger); err != nil {
		t.Fatal(err)
	}
}

func TestApply_AChangeThatTheDatabaseRefusesFailsAlone(t *testing.T) {
	s, path := fresh(t)
	got := claimed(t, s, 3)
	refuse(t, path, "ended", "error", "bad")
	changes := []task.Change{endOf(got[0], task.StatusSucceeded), endOf(got[1], task.StatusFailed), endOf(got[2], task.StatusFailed)}
	changes[1].Error, changes[2].Error = "bad", "good"
	errs := s.Apply(t.Context(), changes)
	if errs[0] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "refused") || errs[2] != nil {
		t.Errorf("%v", errs)
	}
	for status, want := range map[task.Status]int{task.StatusSucceeded: 1, task.StatusFailed: 1, task.StatusRunning: 1} {
		if found, err := s.Find(t.Context(), task.Query{Status: status}); err != nil || len(found) != want {
			t.Errorf("%d tasks are %s, %v, want %d", len(found), status, err, want)
		}
	}
}

func TestTransaction_AJobThatTheDatabaseRefusesDoesNotFailTheOthers(t *testing.T) {
	s, path := fresh(t)
	got := claimed(t, s, 1)
	refuse(t, path, "tasks", "kind", "bad")
	busy, release := make(chan struct{}), make(chan struct{})
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := s.inTx(context.Background(), func(*txn) error { close(busy); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-busy
	add := func(n int, kind string, fails bool) {
		calls.Go(func() {
			_, err := s.Add(t.Context(), []task.NewTask{{ID: id(n), Kind: kind}})
			if (err != nil) != fails {
				t.Errorf("task of kind %s: %v", kind, err)
			}
		})
	}
	add(100, "good", false)
	add(101, "bad", true)
	add(102, "good", false)
	calls.Go(func() {
		if errs := s.Apply(t.Context(), []task.Change{endOf(got[0], task.StatusSucceeded)}); errs[0] != nil {
			t.Error(errs[0])
		}
	})
	calls.Go(func() {
		if err := s.Control(t.Context(), task.Command{Verb: task.VerbCancel, Task: id(999)}); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("a command for no task: %v", err)
		}
	})
	queued(t, s, 5)
	close(release)
	calls.Wait()
	if found, err := s.Find(t.Context(), task.Query{}); err != nil || len(found) != 3 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
}

func TestTransaction_IsBoundedInJobsAndSize(t *testing.T) {
	w := &writer{}
	for range maxJobs + 1 {
		w.queue = append(w.queue, &job{})
	}
	for _, rows := range []int{maxSize - 1, 2, maxSize + 1, 1, 1} {
		w.queue = append(w.queue, &job{adding: &adding{tasks: make([]task.NewTask, rows)}})
	}
	large := []task.NewTask{{Payload: make([]byte, 4096*maxSize)}}
	w.queue = append(w.queue, &job{adding: &adding{tasks: large}}, &job{})
	for i, want := range []int{maxJobs, 2, 1, 1, 2, 1, 1, 0} {
		if got := len(w.next()); got != want {
			t.Errorf("transaction %d has %d jobs, want %d", i, got, want)
		}
	}
}
