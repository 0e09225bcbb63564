package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// misuse has a handler do something once, and returns the error's text.
func misuse(t *testing.T, do func(ctx context.Context, r *task.Run) error) (text string) {
	t.Helper()
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			err := do(ctx, r)
			if !errors.Is(err, task.ErrInvalid) {
				t.Errorf("%v, want ErrInvalid", err)
			}
			return err
		}
		id := b.enqueue()
		g := b.serve(b.store)
		text = b.want(id, task.StatusQueued, "", 1, 0, 0).Error
		b.stop(g, 0)
	})
	return text
}

func one(context.Context) (int, error) { return 1, nil }

func TestStep_WhatNoHandlerMayDoIsRefused(t *testing.T) {
	for want, do := range map[string]func(ctx context.Context, r *task.Run) error{
		"step a comes twice in this run": func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", one)
			_, err2 := task.Step(ctx, r, "a", one)
			return errors.Join(err, err2)
		},
		"step b begins while step a is under way": func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", func(ctx context.Context) (int, error) { return task.Step(ctx, r, "b", one) })
			return err
		},
		"step c begins while step a is under way": func(ctx context.Context, r *task.Run) error {
			in, out := make(chan bool), make(chan error)
			go func() {
				<-in
				_, err := task.Step(ctx, r, "c", one)
				out <- err
			}()
			_, err := task.Step(ctx, r, "a", func(context.Context) (int, error) { close(in); return 0, <-out })
			return err
		},
		"step b begins although step a has not been done": func(ctx context.Context, r *task.Run) error {
			_, _ = task.Step(ctx, r, "a", func(context.Context) (int, error) { return 0, errors.New("oh") })
			_, err := task.Step(ctx, r, "b", one)
			return err
		},
		"step d begins although step a has not been done": func(ctx context.Context, r *task.Run) error {
			_ = task.EachOf(ctx, r, "a", []int{1, 2}, func(context.Context, int) error { return errors.New("oh") })
			_, err := task.Step(ctx, r, "d", one)
			return err
		},
		"step p begins although step a has not been done": func(ctx context.Context, r *task.Run) error {
			func() {
				defer func() { _ = recover() }()
				_, _ = task.Step(ctx, r, "a", func(context.Context) (int, error) { panic("oh") })
			}()
			_, err := task.Step(ctx, r, "p", one)
			return err
		},
	} {
		if text := misuse(t, do); !strings.Contains(text, want) {
			t.Errorf("%q, want %q in it", text, want)
		}
	}
}

func TestStep_WhatCannotBeKeptIsRefused(t *testing.T) {
	for want, do := range map[string]func(ctx context.Context, r *task.Run) error{
		`step "" must have 1 to 100 characters`: func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "", one)
			return err
		},
		`step "an old name" may have only`: func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", one, task.FormerNames("an old name"))
			return err
		},
		"step a: Length and SaveEvery are for Each": func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", one, task.Length(3))
			return err
		},
		"the task has 1000 steps already": func(ctx context.Context, r *task.Run) error {
			for n := range task.MaxSteps {
				if _, err := task.Step(ctx, r, fmt.Sprint("call-", n), one); err != nil {
					return errors.New("too early")
				}
			}
			_, err := task.Step(ctx, r, "more", one)
			return err
		},
		"at most 16777216 are kept": func(ctx context.Context, r *task.Run) error {
			for n := range 17 {
				_, err := task.Step(ctx, r, fmt.Sprint("large-", n), func(context.Context) (string, error) { return strings.Repeat("x", 1<<20-2), nil })
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if text := misuse(t, do); !strings.Contains(text, want) {
			t.Errorf("%q, want %q in it", text, want)
		}
	}
}
