package task_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestEnqueue_EnqueuingAgainWithTheSameIDMakesNoSecondTask(t *testing.T) {
	c := task.NewClient(memstore.New())
	opt := &task.EnqueueOptions{ID: "0197c0de-0000-7000-8000-000000000000"}
	for i, outcome := range []task.Outcome{task.OutcomeAdded, task.OutcomeExisting} {
		got, err := kind.Enqueue(t.Context(), c, args{N: 7}, opt)
		if err != nil || got.ID != opt.ID || got.Outcome != outcome {
			t.Errorf("Enqueue %d: %+v, %v", i, got, err)
		}
	}
	if got, err := c.Get(t.Context(), opt.ID); err != nil || string(got.Payload) != `{"N":7}` {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEnqueue_AnIDThatIsAnotherTasksIsAConflictAndHoldsBackNoOther(t *testing.T) {
	c := task.NewClient(memstore.New())
	const id = "0197c0de-0000-7000-8000-000000000000"
	opt := &task.EnqueueOptions{ID: id}
	if _, err := c.Enqueue(t.Context(), "k", []byte(`"mine"`), opt); err != nil {
		t.Fatal(err)
	}
	for name, enqueue := range map[string]func() (task.EnqueueResult, error){
		"another payload": func() (task.EnqueueResult, error) { return c.Enqueue(t.Context(), "k", []byte(`"theirs"`), opt) },
		"another kind":    func() (task.EnqueueResult, error) { return c.Enqueue(t.Context(), "other", []byte(`"mine"`), opt) },
		"a typed kind":    func() (task.EnqueueResult, error) { return kind.Enqueue(t.Context(), c, args{}, opt) },
	} {
		if got, err := enqueue(); !errors.Is(err, task.ErrIDConflict) || got.Outcome == task.OutcomeExisting {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	var tasks []task.NewTask
	for _, o := range []*task.EnqueueOptions{nil, opt, nil} {
		n, err := task.Prepare("k", []byte(`"theirs"`), o)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, n)
	}
	done, err := c.EnqueueMany(t.Context(), tasks)
	if !errors.Is(err, task.ErrIDConflict) || errors.Is(err, task.ErrKeyBusy) || !strings.Contains(err.Error(), "1 of 3 tasks") || len(done) != 3 {
		t.Fatalf("EnqueueMany: %+v, %v", done, err)
	}
	for i, d := range done {
		if want := i == 1; d.Outcome == task.OutcomeExisting || errors.Is(d.Err, task.ErrIDConflict) != want || !want && d.Err != nil {
			t.Errorf("task %d: %+v", i, d)
		}
	}
	if got, err := c.Get(t.Context(), id); err != nil || string(got.Payload) != `"mine"` || got.Kind != "k" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEnqueue_WhatCannotBeAcceptedIsErrInvalidAndSaysWhy(t *testing.T) {
	c := task.NewClient(memstore.New())
	for name, call := range map[string]func() (task.EnqueueResult, error){
		"not a UUID": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{ID: "7"})
		},
		"names nothing": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{ID: "00000000-0000-0000-0000-000000000000"})
		},
		"must have 1": func() (task.EnqueueResult, error) { return c.Enqueue(t.Context(), "", nil, nil) },
		"may have only letters": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "a kind", []byte("{}"), nil)
		},
		"cannot be in a URL": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{Queue: "/"})
		},
		"put it into a file": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", make([]byte, task.MaxPayload+1), nil)
		},
		"priority 9223372036854775807 must be from -2147483648 to 2147483647": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{Priority: math.MaxInt})
		},
		"priority -9223372036854775808 must be from": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{Priority: math.MinInt})
		},
		"is empty, which is no JSON": func() (task.EnqueueResult, error) { return c.Enqueue(t.Context(), "k", nil, nil) },
		`is no JSON: encode it, or use Kind.Enqueue, which does; it begins with "plain \xff text"`: func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("plain \xff text"), nil)
		},
		"was given no transaction": func() (task.EnqueueResult, error) {
			return kind.Enqueue(t.Context(), c.WithTx(nil), args{}, nil)
		},
		"is negative": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{Delay: -time.Second})
		},
	} {
		if _, err := call(); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want ErrInvalid and %q", err, name)
		}
	}
}

func TestPrepare_APreparedTaskOfANamedKindIsCheckedAndCanBeHandedInAgain(t *testing.T) {
	c := task.NewClient(memstore.New())
	payload := []byte(`{ "spaces": "stay" }`)
	n, err := task.Prepare("named", payload, &task.EnqueueOptions{Queue: "q", Priority: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, outcome := range []task.Outcome{task.OutcomeAdded, task.OutcomeExisting} {
		done, err := c.EnqueueMany(t.Context(), []task.NewTask{n})
		if err != nil || len(done) != 1 || done[0] != (task.EnqueueResult{ID: n.ID, Outcome: outcome}) {
			t.Errorf("%+v, %v; want %s, %v", done, err, n.ID, outcome)
		}
	}
	got, err := c.Get(t.Context(), n.ID)
	if err != nil || string(got.Payload) != string(payload) || got.Kind != "named" || got.Queue != "q" || got.Priority != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, opt := range map[string]*task.EnqueueOptions{"no name": nil, "named": {ID: "x"}} {
		if _, err := task.Prepare(name, payload, opt); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("Prepare(%q, %+v): %v, want ErrInvalid", name, opt, err)
		}
	}
}

func TestEnqueueMany_KeepsOrderKeysAndIDs(t *testing.T) {
	bubble(t, func(b *bench) {
		k := task.Kind[int]{Name: "many", Queue: "bulk"}
		var tasks []task.NewTask
		for i := range 12_000 {
			var opt *task.EnqueueOptions
			if i%5000 == 7 {
				opt = &task.EnqueueOptions{Key: "same"}
			}
			n, err := k.Prepare(i, opt)
			if err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, n)
		}
		for again := range 2 {
			done, err := b.client.EnqueueMany(b.t.Context(), tasks)
			if err != nil || len(done) != len(tasks) {
				t.Fatalf("%d, %v", len(done), err)
			}
			for i, d := range done {
				keyed := i%5000 == 7
				if want := again == 1 || keyed && i > 7; (d.Outcome == task.OutcomeExisting) != want || !keyed && d.ID != tasks[i].ID || keyed && d.ID != tasks[7].ID {
					t.Fatalf("task %d: %+v, existed should be %v", i, d, want)
				}
			}
		}
		counts, err := b.client.Count(b.t.Context())
		want := []task.Count{{Queue: "bulk", Kind: "many", Status: task.StatusQueued, N: 11_998}}
		if err != nil || !slices.Equal(counts.Tasks, want) {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

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
		n, err := task.Prepare("k", []byte("{}"), &task.EnqueueOptions{Key: key})
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
		if want := map[int]string{3: tasks[0].ID}[i]; (d.Outcome == task.OutcomeExisting) != (want != "") || want == "" && d.ID != tasks[i].ID || want != "" && d.ID != want {
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
		if d.ID != tasks[i].ID || d.Outcome == task.OutcomeExisting || busy != errors.Is(d.Err, task.ErrKeyBusy) || !busy && d.Err != nil {
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
	if done, err := c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{Key: "held"}); !errors.Is(err, task.ErrKeyBusy) || done.ID == "" {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := c.Enqueue(t.Context(), "k", []byte("{}"), &task.EnqueueOptions{Key: "free"}); err != nil || done.Err != nil || done.Outcome == task.OutcomeExisting {
		t.Errorf("%+v, %v", done, err)
	}
}
