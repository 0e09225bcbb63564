package task_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// heldKeys is a store in which an open transaction holds the key "held". It counts the calls of
// Add.
type heldKeys struct {
	task.Store
	calls int
	err   error // of the second call
}

func (s *heldKeys) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	if s.calls++; s.calls == 2 && s.err != nil {
		return nil, s.err
	}
	var added []task.AddResult
	for _, n := range tasks {
		if n.Key == "held" {
			added = append(added, task.AddResult{ID: n.ID, Busy: true})
			continue
		}
		one, err := s.Store.Add(ctx, []task.NewTask{n})
		if err != nil {
			return nil, err
		}
		added = append(added, one...)
	}
	return added, nil
}

func prepared(t *testing.T, keys ...string) []task.NewTask {
	t.Helper()
	var tasks []task.NewTask
	for _, key := range keys {
		n, err := task.Prepare("k", nil, &task.EnqueueOptions{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, n)
	}
	return tasks
}

func TestEnqueueMany_HandsOverTasksWithAndWithoutKeysInOneCall(t *testing.T) {
	s := &heldKeys{Store: memstore.New()}
	tasks := prepared(t, "a", "", "b", "a", "")
	done, err := task.NewClient(s).EnqueueMany(t.Context(), tasks)
	if err != nil || len(done) != len(tasks) || s.calls != 1 {
		t.Fatalf("%+v, %v, in %d calls of the store", done, err, s.calls)
	}
	for i, d := range done {
		if want := map[int]string{3: tasks[0].ID}[i]; d.Existed != (want != "") || want == "" && d.ID != tasks[i].ID || want != "" && d.ID != want {
			t.Errorf("task %d: %+v", i, d)
		}
	}
}

func TestEnqueueMany_ABusyTaskHoldsUpNoOtherAndIsErrKeyBusy(t *testing.T) {
	s := &heldKeys{Store: memstore.New()}
	c := task.NewClient(s)
	tasks := prepared(t, "", "held", "free", "held")
	done, err := c.EnqueueMany(t.Context(), tasks)
	if !errors.Is(err, task.ErrKeyBusy) || !strings.Contains(err.Error(), "2 of 4 tasks") || len(done) != len(tasks) {
		t.Fatalf("%+v, %v: want the whole answer and ErrKeyBusy with its number", done, err)
	}
	for i, d := range done {
		busy := tasks[i].Key == "held"
		if d.ID != tasks[i].ID || d.Existed || busy != errors.Is(d.Err, task.ErrKeyBusy) || !busy && d.Err != nil {
			t.Errorf("task %d: %+v", i, d)
		}
		if _, err := c.Get(t.Context(), tasks[i].ID); busy != errors.Is(err, task.ErrNotFound) {
			t.Errorf("task %d: %v", i, err)
		}
	}
}

func TestEnqueueMany_AnErrorInTheMiddleLeavesTheAnswersBeforeIt(t *testing.T) {
	full := errors.New("disk full")
	s := &heldKeys{Store: memstore.New(), err: full}
	tasks := prepared(t, append([]string{"held"}, make([]string, 5000)...)...)
	done, err := task.NewClient(s).EnqueueMany(t.Context(), tasks)
	if !errors.Is(err, full) || len(done) != 5000 || !errors.Is(done[0].Err, task.ErrKeyBusy) || done[1].Err != nil {
		t.Errorf("%d answers, %v", len(done), err)
	}
}

func TestEnqueue_ABusyTaskIsErrKeyBusy(t *testing.T) {
	s := &heldKeys{Store: memstore.New()}
	c := task.NewClient(s)
	if done, err := c.Enqueue(t.Context(), "k", nil, &task.EnqueueOptions{Key: "held"}); !errors.Is(err, task.ErrKeyBusy) || done.ID == "" {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := c.Enqueue(t.Context(), "k", nil, &task.EnqueueOptions{Key: "free"}); err != nil || done.Err != nil || done.Existed {
		t.Errorf("%+v, %v", done, err)
	}
}
