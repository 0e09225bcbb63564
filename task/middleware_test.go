package task_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// set returns a middleware that sets a pair of every task, and records its name in the order of the
// calls.
func set(name string, order *[]string) func(task.EnqueueFunc) task.EnqueueFunc {
	return func(next task.EnqueueFunc) task.EnqueueFunc {
		return func(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error) {
			*order = append(*order, name)
			for i := range tasks {
				tasks[i].SetMeta("by", name)
				tasks[i].SetMeta(name, "was here")
			}
			return next(ctx, tasks)
		}
	}
}

func TestClientUse_WrapsEveryWayToEnqueueTheFirstOutermost(t *testing.T) {
	var order []string
	c := task.NewClient(memstore.New())
	c.Use(set("outer", &order))
	c.Use(set("inner", &order))
	given := map[string]string{"by": "caller", "tenant": "acme"}
	opt := &task.EnqueueOptions{Meta: given}
	prepared, err := kind.Prepare(args{}, opt)
	if err != nil {
		t.Fatal(err)
	}
	for name, enqueue := range map[string]func() (string, error){
		"typed":   func() (string, error) { r, err := kind.Enqueue(t.Context(), c, args{}, opt); return r.ID, err },
		"by name": func() (string, error) { r, err := c.Enqueue(t.Context(), "k", []byte("1"), opt); return r.ID, err },
		"many": func() (string, error) {
			r, err := c.EnqueueMany(t.Context(), []task.NewTask{prepared})
			if err != nil || len(r) != 1 {
				return "", err
			}
			return r[0].ID, nil
		},
	} {
		order = nil
		id, err := enqueue()
		if err != nil || !slices.Equal(order, []string{"outer", "inner"}) {
			t.Errorf("%s: %v, the order was %v", name, err, order)
		}
		want := map[string]string{"by": "inner", "outer": "was here", "inner": "was here", "tenant": "acme"}
		if got, err := c.Get(t.Context(), id); err != nil || !maps.Equal(got.Meta, want) {
			t.Errorf("%s: %v, %v", name, got.Meta, err)
		}
	}
	if !maps.Equal(prepared.Meta, given) || given["by"] != "caller" {
		t.Errorf("the caller's own are %v and %v", prepared.Meta, given)
	}
	if done, err := c.EnqueueMany(t.Context(), nil); err != nil || len(done) != 0 {
		t.Errorf("no task at all: %v, %v", done, err)
	}
}

func TestClientUse_WhatAMiddlewareLeavesIsCheckedAndItsErrorIsTheCallers(t *testing.T) {
	refused := errors.New("no")
	for name, one := range map[string]struct {
		alter func(n *task.NewTask) error
		want  error
	}{
		"a value that is no text": {func(n *task.NewTask) error { n.SetMeta("a", "\x00"); return nil }, task.ErrInvalid},
		"no queue":                {func(n *task.NewTask) error { n.Queue = ""; return nil }, task.ErrInvalid},
		"a negative delay":        {func(n *task.NewTask) error { n.Delay = -1; return nil }, task.ErrInvalid},
		"an error":                {func(*task.NewTask) error { return refused }, refused},
	} {
		store := memstore.New()
		c := task.NewClient(store)
		c.Use(func(next task.EnqueueFunc) task.EnqueueFunc {
			return func(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error) {
				if err := one.alter(&tasks[0]); err != nil {
					return nil, err
				}
				return next(ctx, tasks)
			}
		})
		if _, err := c.Enqueue(t.Context(), "k", []byte("1"), nil); !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
		if all, err := task.NewClient(store).Find(t.Context(), task.Query{}); err != nil || len(all) != 0 {
			t.Errorf("%s: recorded %v, %v", name, all, err)
		}
	}
	c := task.NewClient(memstore.New())
	c.Use(func(task.EnqueueFunc) task.EnqueueFunc {
		return func(context.Context, []task.NewTask) ([]task.EnqueueResult, error) { return nil, nil }
	})
	if _, err := c.Enqueue(t.Context(), "k", []byte("1"), nil); err == nil || !strings.Contains(err.Error(), "0 results for 1 tasks") {
		t.Errorf("a middleware that forgets the task: %v", err)
	}
	if _, err := c.EnqueueMany(t.Context(), make([]task.NewTask, 2)); err == nil || !strings.Contains(err.Error(), "0 results for 2 tasks") {
		t.Errorf("a middleware that forgets them all: %v", err)
	}
}

func TestMeta_IsBoundedTextAndSaysWhatIsWrongWithIt(t *testing.T) {
	many := make(map[string]string)
	for i := range task.MaxMeta + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	c := task.NewClient(memstore.New())
	for says, meta := range map[string]map[string]string{
		"17 pairs, at most 16":                  many,
		`meta "a" has 1025 bytes, at most 1024`: {"a": strings.Repeat("x", task.MaxMetaValue+1)},
		"it must be UTF-8 without NUL":          {"a": "x\x00"},
		"which is no text":                      {"a": "\xff"},
		"must have 1 to 100 characters":         {"": "x"},
		"1 to 100":                              {strings.Repeat("k", 101): "x"},
		"may have only letters":                 {"a b": "x"},
	} {
		if _, err := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Meta: meta}); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
		if _, err := c.Find(t.Context(), task.Query{Meta: meta}); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("a query, %s: %v", says, err)
		}
	}
	delete(many, "k")
	many["kk"] = strings.Repeat("x", task.MaxMetaValue)
	got, err := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Meta: many})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Find(t.Context(), task.Query{Meta: many}); err != nil || len(found) != 1 || found[0].ID != got.ID {
		t.Errorf("%v, %v", found, err)
	}
}

// A trace goes from a request to its runs, and no payload has it.
func TestMuxUse_SeesTheMetaThatTheClientsMiddlewareSetAndItsPanicIsAnAttempt(t *testing.T) {
	type traceKey struct{}
	bubble(t, func(b *bench) {
		b.client.Use(func(next task.EnqueueFunc) task.EnqueueFunc {
			return func(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error) {
				for i := range tasks {
					tasks[i].SetMeta("trace", ctx.Value(traceKey{}).(string))
				}
				return next(ctx, tasks)
			}
		})
		var seen []string
		b.middleware = []func(task.Handler) task.Handler{func(next task.Handler) task.Handler {
			return func(ctx context.Context, r *task.Run) error {
				if r.Task().Attempts == 0 {
					panic("before the handler of " + r.Meta("trace"))
				}
				return next(context.WithValue(ctx, traceKey{}, r.Meta("trace")), r)
			}
		}}
		b.handle = func(ctx context.Context, r *task.Run) error {
			seen = append(seen, ctx.Value(traceKey{}).(string), string(r.Task().Payload), r.Meta("nothing"))
			return nil
		}
		g := b.serve(b.store)
		done, err := kind.Enqueue(context.WithValue(b.t.Context(), traceKey{}, "t-1"), b.client, args{N: 7}, nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.get(done.ID); got.Status != task.StatusQueued || got.Attempts != 1 || got.Crashes != 0 || !strings.Contains(got.Error, "before the handler of t-1") {
			t.Errorf("after the panic: %+v", got)
		}
		if got, err := b.client.Wait(b.t.Context(), done.ID); err != nil || got.Status != task.StatusSucceeded || got.Meta["trace"] != "t-1" {
			t.Errorf("%+v, %v", got, err)
		}
		if !slices.Equal(seen, []string{"t-1", `{"N":7}`, ""}) {
			t.Errorf("the handler saw %q", seen)
		}
		b.stop(g, 0)
	})
}
