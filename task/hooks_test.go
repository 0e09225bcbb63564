package task_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// bomb panics when it is encoded as JSON, or decoded from it.
type bomb struct{ armed bool }

func (b bomb) MarshalJSON() ([]byte, error) {
	if b.armed {
		panic("MarshalJSON")
	}
	return []byte(`{}`), nil
}

func (*bomb) UnmarshalJSON([]byte) error { panic("UnmarshalJSON") }

// broken is a logger that panics in one of its methods.
type broken struct {
	slog.Handler
	in string
}

func (b broken) Enabled(context.Context, slog.Level) bool {
	if b.in == "Enabled" {
		panic("Enabled")
	}
	return true
}
func (b broken) Handle(context.Context, slog.Record) error { panic("Handle") }

// If any code of the user panics, the worker and its other tasks go on, and the task has the panic
// where it was the task's.
func TestHook_APanicInAnyOfThemEndsNeitherTheProcessNorTheWorker(t *testing.T) {
	fails := func(err error) func(*bench) {
		return func(b *bench) { b.handle = func(context.Context, *task.Run) error { return err } }
	}
	does := func(fn func(context.Context, *task.Run) error) func(*bench) {
		return func(b *bench) { b.handle = fn }
	}
	fine := func(context.Context, *task.Run) error { return nil }
	for name, c := range map[string]struct {
		arm func(*bench)
		// want is in the task's error, with a stack; where it is empty the task has succeeded.
		want string
	}{
		"handler":         {does(func(context.Context, *task.Run) error { panic("handler") }), "panic: handler"},
		"handler's value": {does(func(context.Context, *task.Run) error { panic(nasty{"Error"}) }), "panic: "},
		"Goexit":          {does(func(context.Context, *task.Run) error { runtime.Goexit(); return nil }), "runtime.Goexit"},
		"middleware": {func(b *bench) {
			b.handle = fine
			b.middleware = []func(task.Handler) task.Handler{func(task.Handler) task.Handler {
				return func(context.Context, *task.Run) error { panic("middleware") }
			}}
		}, "panic: middleware"},
		"payload": {func(b *bench) {
			task.Handle(&b.mux, task.Kind[bomb]{Name: kind.Name}, func(context.Context, *task.Run, bomb) error { return nil })
		}, "panic: UnmarshalJSON"},
		"Save":      {does(func(ctx context.Context, r *task.Run) error { return r.Save(ctx, bomb{true}) }), "panic: MarshalJSON"},
		"HandOver":  {does(func(_ context.Context, r *task.Run) error { return r.HandOver(bomb{true}) }), "panic: MarshalJSON"},
		"SetResult": {does(func(_ context.Context, r *task.Run) error { return r.SetResult(bomb{true}) }), "panic: MarshalJSON"},
		"Load": {does(func(ctx context.Context, r *task.Run) error {
			err := r.Save(ctx, 1)
			_, loaded := r.Load(new(bomb))
			return errors.Join(err, loaded)
		}), "panic: UnmarshalJSON"},
		"a nil pointer": {fails(typedNil()), "panic: "}, "an embedded nil": {fails(embedding{}), "panic: "},
		"Error": {fails(nasty{"Error"}), "panic: Error"}, "Unwrap": {fails(nasty{"Unwrap"}), "panic: Unwrap"},
		"As": {fails(nasty{"As"}), "panic: As"}, "a permanent one": {fails(task.Permanent(nasty{"Error"})), "panic: Error"},
		"Save's context": {does(func(ctx context.Context, r *task.Run) error {
			ctx, stop := context.WithCancelCause(ctx)
			stop(nasty{"As"})
			_ = r.Save(ctx, 1) // it ends by another cause than an interrupt
			panic("afterwards")
		}), "panic: afterwards"},
		"Backoff": {func(b *bench) {
			b.kind.Backoff = index
			b.handle = func(context.Context, *task.Run) error { return errors.New("no luck") }
		}, "index out of range"},
		"Observe":        {func(b *bench) { b.handle, b.observe = fine, func(context.Context, task.Event) { panic("Observe") } }, ""},
		"Logger":         {func(b *bench) { b.handle, b.log = fine, slog.New(broken{slog.DiscardHandler, ""}) }, ""},
		"Logger.Enabled": {func(b *bench) { b.handle, b.log = fine, slog.New(broken{slog.DiscardHandler, "Enabled"}) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				c.arm(b)
				g := b.serve(b.store)
				id := b.enqueue()
				time.Sleep(time.Second / 2) // before it is tried again
				b.heard(id, c.want)
				if b.handle != nil && b.middleware == nil {
					b.handle = fine
					b.want(b.enqueue(), task.StatusSucceeded, "", 0, 0, 0)
				}
				b.stop(g, 0)
			})
		})
	}
}

// heard checks a task whose handler's code has panicked with a text. If the text is empty, other
// code has panicked.
func (b *bench) heard(id, text string) {
	b.t.Helper()
	got := b.get(id)
	switch {
	case text == "" && got.Status != task.StatusSucceeded:
		b.t.Errorf("it is %s: %s", got.Status, got.Error)
	case text != "" && (got.Attempts != 1 || got.Crashes != 0 || !strings.Contains(got.Error, text)):
		b.t.Errorf("it is %s, %+v: %s", got.Status, got.Counters, got.Error)
	case strings.HasPrefix(text, "panic") && !strings.Contains(got.Error, "goroutine "):
		b.t.Errorf("no stack: %s", got.Error)
	}
}

// The context of a worker that is in no group ends with whatever cause its caller gives.
func TestHook_ACauseThatPanicsEndsTheWorkerAsAnyOther(t *testing.T) {
	for _, in := range []string{"Is", "As", "Unwrap", "Error"} {
		bubble(t, func(b *bench) {
			task.Handle(&b.mux, b.kind, func(ctx context.Context, _ *task.Run, _ args) error { <-ctx.Done(); return ctx.Err() })
			w, err := task.NewWorker(task.WorkerConfig{Store: b.store, Mux: &b.mux, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancelCause(b.t.Context())
			served := make(chan error)
			go func() { served <- w.Serve(ctx) }()
			id := b.enqueue()
			b.want(id, task.StatusRunning, "", 0, 0, 0)
			stop(nasty{in})
			if err := <-served; err != nil {
				t.Errorf("%s: %v", in, err)
			}
			if got := b.get(id); got.Status == task.StatusRunning {
				t.Errorf("%s: it is %s", in, got.Status)
			}
		})
	}
}
