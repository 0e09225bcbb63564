package task_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/lastcall-go/lastcall/task"
)

func TestHandle_PanicsOnWhatIsAMistakeOfTheProgram(t *testing.T) {
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

func TestMiddleware_WrapsInItsOrderAndObserversHearOfEveryRun(t *testing.T) {
	bubble(t, func(b *bench) {
		var order []string
		wrap := func(name string) func(task.Handler) task.Handler {
			return func(next task.Handler) task.Handler {
				return func(ctx context.Context, r *task.Run) error {
					order = append(order, name)
					return next(ctx, r)
				}
			}
		}
		b.middleware = []func(task.Handler) task.Handler{wrap("outer"), wrap("inner")}
		var seen []task.Status
		b.observe = func(_ context.Context, e task.Event) { seen = append(seen, e.Status) }
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(b.store)
		b.enqueue()
		synctest.Wait()
		if !slices.Equal(order, []string{"outer", "inner"}) || !slices.Equal(seen, []task.Status{task.StatusRunning, task.StatusSucceeded}) {
			t.Errorf("order %v, seen %v", order, seen)
		}
		b.stop(g, 0)
	})
}
