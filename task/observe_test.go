package task_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestObserve_APanicEndsNoRunAndIsLogged(t *testing.T) {
	bubble(t, func(b *bench) {
		var log bytes.Buffer
		b.log = slog.New(slog.NewTextHandler(&log, nil))
		b.observe = func(_ context.Context, e task.Event) { panic("wrong label for " + string(e.Status)) }
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
		for _, want := range []string{"Observe panicked", "wrong label for running", "wrong label for succeeded"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, &log)
			}
		}
	})
}

func TestObserve_HearsOfAnEndThatANeighbourHasRecorded(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.MaxCrashes = 1
		b.handle = func(ctx context.Context, _ *task.Run) error { <-ctx.Done(); return ctx.Err() }
		var dying, taking events
		cut := &faultyStore{Store: b.store}
		b.observe = dying.observe
		dead := b.serve(cut)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.observe = taking.observe
		next := b.serve(b.store)
		cut.cut(true)
		b.store.Kill(first.Worker)
		time.Sleep(time.Second)
		got := b.want(id, task.StatusFailed, "", 0, 0, 1)
		if len(taking.all) != 1 {
			t.Fatalf("the neighbour tells of %+v", taking.all)
		}
		e := taking.all[0]
		if !e.Reclaimed || e.Stale || e.Status != task.StatusFailed || e.Err != got.Error || e.Task.ID != id || e.Task.Run != first.Run || e.Took != 0 {
			t.Errorf("the neighbour tells of %+v", e)
		}
		b.stop(next, 0)
		cut.cut(false) // it was not dead after all
		dead.Stop(nil)
		dead.Wait()
		if last := dying.all[len(dying.all)-1]; !last.Stale || last.Reclaimed || last.Status != task.StatusInterrupted {
			t.Errorf("the worker that was taken for dead tells of %+v", last)
		}
	})
}

type traceKey struct{}

func TestObserve_HasTheValuesOfTheRunsContextAndEndsWithTheWorker(t *testing.T) {
	bubble(t, func(b *bench) {
		told := make(chan context.Context, 10)
		b.observe = func(ctx context.Context, _ task.Event) { told <- ctx }
		b.handle = func(context.Context, *task.Run) error { return nil }
		w, err := task.NewWorker(task.WorkerConfig{Store: b.store, Mux: &b.mux, Observe: b.observe, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		task.Handle(&b.mux, b.kind, func(ctx context.Context, r *task.Run, _ args) error { return b.handle(ctx, r) })
		ctx, stop := context.WithCancel(context.WithValue(b.t.Context(), traceKey{}, "trace"))
		served := make(chan error)
		go func() { served <- w.Serve(ctx) }()
		b.want(b.enqueue(), task.StatusSucceeded, "", 0, 0, 0)
		heard := <-told
		if heard.Value(traceKey{}) != "trace" || heard.Err() != nil {
			t.Errorf("value %v, err %v", heard.Value(traceKey{}), heard.Err())
		}
		stop()
		if err := <-served; err != nil || heard.Err() == nil {
			t.Errorf("the worker has ended with %v, and the context with %v", err, heard.Err())
		}
	})
}
