package task_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestEnqueuingAgainWithTheSameIDMakesNoSecondTask(t *testing.T) {
	c := task.NewClient(memstore.New())
	opt := &task.EnqueueOptions{ID: "0197c0de-0000-7000-8000-000000000000"}
	for i, existed := range []bool{false, true} {
		got, err := kind.Enqueue(t.Context(), c, args{N: i}, opt)
		if err != nil || got.ID != opt.ID || got.Existed != existed {
			t.Errorf("Enqueue %d: %+v, %v", i, got, err)
		}
	}
	if got, err := c.Get(t.Context(), opt.ID); err != nil || string(got.Payload) != `{"N":0}` {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestIDsAreUUIDsOfVersionSevenAndSortByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := task.NewClient(memstore.New())
		var ids []string
		for range 5 {
			got, err := kind.Enqueue(t.Context(), c, args{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.ID) != 36 || got.ID[14] != '7' || !strings.ContainsRune("89ab", rune(got.ID[19])) {
				t.Errorf("id %s", got.ID)
			}
			ids = append(ids, got.ID)
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSorted(ids) {
			t.Errorf("%v", ids)
		}
	})
}

func TestWhatCannotBeAcceptedIsErrInvalidAndSaysWhy(t *testing.T) {
	c := task.NewClient(memstore.New())
	for name, call := range map[string]func() (task.EnqueueResult, error){
		"not a UUID": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", nil, &task.EnqueueOptions{ID: "7"})
		},
		"must have 1": func() (task.EnqueueResult, error) { return c.Enqueue(t.Context(), "", nil, nil) },
		"may have only letters": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "a kind", nil, nil)
		},
		"put it into a file": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", make([]byte, task.MaxPayload+1), nil)
		},
		"priority 9223372036854775807 must be from -2147483648 to 2147483647": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", nil, &task.EnqueueOptions{Priority: math.MaxInt})
		},
		"priority -9223372036854775808 must be from": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", nil, &task.EnqueueOptions{Priority: math.MinInt})
		},
		"is negative": func() (task.EnqueueResult, error) {
			return c.Enqueue(t.Context(), "k", nil, &task.EnqueueOptions{Delay: -time.Second})
		},
	} {
		if _, err := call(); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want ErrInvalid and %q", err, name)
		}
	}
}

func TestGettingATaskThatIsNotThereIsErrNotFound(t *testing.T) {
	c := task.NewClient(memstore.New())
	const id = "0197c0de-0000-7000-8000-000000000000"
	if _, err := c.Get(t.Context(), id); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if _, err := c.History(t.Context(), id); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("History: %v", err)
	}
}

func TestHandlePanicsOnWhatIsAMistakeOfTheProgram(t *testing.T) {
	fn := func(context.Context, *task.Run, args) error { return nil }
	for name, register := range map[string]func(m *task.Mux){
		"twice":       func(m *task.Mux) { task.Handle(m, kind, fn); task.Handle(m, kind, fn) },
		"no name":     func(m *task.Mux) { task.Handle(m, task.Kind[args]{}, fn) },
		"no handler":  func(m *task.Mux) { task.Handle(m, kind, nil) },
		"bad timeout": func(m *task.Mux) { task.Handle(m, task.Kind[args]{Name: "k", Timeout: -1}, fn) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			var m task.Mux
			register(&m)
		})
	}
}

func TestPermanentKeepsItsErrorAndNil(t *testing.T) {
	cause := errors.New("cause")
	if err := task.Permanent(cause); !errors.Is(err, cause) || !task.IsPermanent(err) || err.Error() != "cause" {
		t.Errorf("%v", err)
	}
	if task.Permanent(nil) != nil || task.IsPermanent(cause) {
		t.Error("nil is not nil, or everything is permanent")
	}
}

func TestEveryStatusHasAName(t *testing.T) {
	for _, s := range task.Statuses() {
		if got, err := task.ParseStatus(string(s)); err != nil || got != s || s.Ended() && s.Claimable() {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	if _, err := task.ParseStatus("done"); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}

func TestNewWorkerRefusesWhatCannotWork(t *testing.T) {
	ok := task.WorkerConfig{Store: memstore.New(), Mux: new(task.Mux)}
	for name, change := range map[string]func(c *task.WorkerConfig){
		"no store":    func(c *task.WorkerConfig) { c.Store = nil },
		"no mux":      func(c *task.WorkerConfig) { c.Mux = nil },
		"concurrency": func(c *task.WorkerConfig) { c.Concurrency = -1 },
		"lease":       func(c *task.WorkerConfig) { c.Lease = time.Millisecond },
	} {
		c := ok
		change(&c)
		if _, err := task.NewWorker(c); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := task.NewWorker(ok); err != nil {
		t.Error(err)
	}
}

func TestAPreparedTaskOfANamedKindIsCheckedAndCanBeHandedInAgain(t *testing.T) {
	c := task.NewClient(memstore.New())
	payload := []byte(`{ "spaces": "stay" }`)
	n, err := task.Prepare("named", payload, &task.EnqueueOptions{Queue: "q", Priority: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, existed := range []bool{false, true} {
		done, err := c.EnqueueMany(t.Context(), []task.NewTask{n})
		if err != nil || len(done) != 1 || done[0] != (task.EnqueueResult{ID: n.ID, Existed: existed}) {
			t.Errorf("%+v, %v; want %s, existed %v", done, err, n.ID, existed)
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
