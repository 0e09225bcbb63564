package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestRetry_FromTheStartDoesEverythingAgain(t *testing.T) {
	bubble(t, func(b *bench) {
		p := &plan{names: []string{"a", "b"}, failures: 3}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		if err := b.client.Retry(t.Context(), id, &task.RetryOptions{FromStart: true}); err != nil {
			t.Fatal(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if fmt.Sprint(p.called) != "[a b a b]" {
			t.Errorf("called %v", p.called)
		}
		b.stop(g, 0)
	})
}

func TestRetry_ASkippedStepIsNotDone(t *testing.T) {
	bubble(t, func(b *bench) {
		called := ""
		b.handle = func(ctx context.Context, r *task.Run) error {
			first, err := task.Step(ctx, r, "first", func(context.Context) (string, error) { called += "first "; return "1", nil })
			if err != nil {
				return err
			}
			bad, err := task.Step(ctx, r, "bad", func(context.Context) (string, error) { called += "bad "; return "2", errors.New("never") })
			if err != nil {
				return err
			}
			if err := task.EachOf(ctx, r, "items", []int{1, 2}, func(context.Context, int) error { called += "item "; return nil }); err != nil {
				return err
			}
			return r.SetResult(first + bad)
		}
		id := b.enqueue()
		err := b.client.Retry(t.Context(), id, &task.RetryOptions{SkipSteps: []string{"bad"}})
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "has not run yet") {
			t.Errorf("skipped before the first run: %v", err)
		}
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		called = ""
		if err := b.client.Retry(t.Context(), id, &task.RetryOptions{SkipSteps: []string{"first", "bad", "items"}}); err != nil {
			t.Fatal(err)
		}
		if got := b.want(id, task.StatusSucceeded, "", 0, 0, 0); string(got.Result) != `"1"` || called != "" {
			t.Errorf("result %s, called %s", got.Result, called)
		}
		if got := b.steps(id); got != "first:done bad:skipped items:skipped" {
			t.Errorf("recorded %q", got)
		}
		b.stop(g, 0)
	})
}

func TestRetry_AStepThatIsNewInTheMiddleCanBeSkipped(t *testing.T) {
	bubble(t, func(b *bench) {
		p := &plan{names: []string{"a", "b"}, failures: 3}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		b.stop(g, 0)
		b2 := bench{t: b.t, store: b.store, client: b.client, kind: kind}
		b2.handle = func(ctx context.Context, r *task.Run) error {
			for _, name := range []string{"a", "new", "b", "c"} {
				if _, err := task.Step(ctx, r, name, one); err != nil {
					return err
				}
			}
			return nil
		}
		g = b2.serve(b.store)
		if err := b.client.Retry(t.Context(), id, &task.RetryOptions{SkipSteps: []string{"new"}}); err != nil {
			t.Fatal(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if got := b.steps(id); got != "a:done b:done c:done new:skipped" {
			t.Errorf("recorded %q", got)
		}
		b.stop(g, 0)
	})
}
