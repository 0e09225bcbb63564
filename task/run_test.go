package task_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestRun_ResultAndLogAreKept(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(_ context.Context, r *task.Run) error {
			r.Log("one")
			r.Log("two")
			return r.SetResult(map[string]int{"n": 3})
		}
		g := b.serve(b.store)
		id := b.enqueue()
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || string(done.Result) != `{"n":3}` {
			t.Errorf("result %s, %v", done.Result, err)
		}
		if log, err := b.client.Log(b.t.Context(), id); err != nil || string(log) != "one\ntwo\n" {
			t.Errorf("log %q, %v", log, err)
		}
		b.stop(g, 0)
	})
}

// saved is the result of a Save.
type saved struct {
	took time.Duration
	err  error
}

// saves has a handler that saves once, after a second, and returns the result.
func (b *bench) saves() <-chan saved {
	all := make(chan saved, 10)
	b.handle = func(ctx context.Context, r *task.Run) error {
		time.Sleep(time.Second)
		began := time.Now()
		err := r.Save(ctx, 1)
		all <- saved{time.Since(began), err}
		return err
	}
	return all
}

func TestSave_WaitsForAStoreThatIsAwayUntilTheTimeoutOfItsKind(t *testing.T) {
	bubble(t, func(b *bench) {
		saves := b.saves()
		b.kind.Timeout = time.Hour
		cut := &faultyStore{Store: b.store}
		g := b.serve(cut)
		b.enqueue()
		synctest.Wait()
		cut.cut(true)
		time.Sleep(2 * time.Hour)
		if got := <-saves; got.err == nil || got.took != time.Hour-time.Second {
			t.Errorf("Save waited for %v and returned %v", got.took, got.err)
		}
		cut.cut(false)
		b.stop(g, 0)
	})
}

func TestSave_WaitsForAStoreThatIsAwayUntilTheHandlerMustReturnInAStop(t *testing.T) {
	bubble(t, func(b *bench) {
		saves := b.saves()
		cut := &faultyStore{Store: b.store}
		g := b.serve(cut)
		b.enqueue()
		synctest.Wait()
		cut.cut(true)
		time.Sleep(time.Minute)
		b.stop(g, 75) // and nobody is abandoned
		// The interrupt comes after 9 of the stop's 10 seconds, and half a second later the group
		// abandons its goroutines.
		if got := <-saves; got.err == nil || got.took != time.Minute-time.Second+9250*time.Millisecond {
			t.Errorf("Save waited for %v and returned %v", got.took, got.err)
		}
	})
}

func TestSave_WaitsForFiveSecondsOutsideAGroup(t *testing.T) {
	bubble(t, func(b *bench) {
		saves := b.saves()
		cut := &faultyStore{Store: b.store}
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error { return b.handle(ctx, r) })
		w, err := task.NewWorker(task.WorkerConfig{Store: cut, Mux: &b.mux, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.t.Context())
		served := make(chan error)
		go func() { served <- w.Serve(ctx) }()
		b.enqueue()
		synctest.Wait()
		cut.cut(true)
		time.Sleep(time.Minute)
		if got := <-saves; got.err == nil || got.took != 5*time.Second {
			t.Errorf("Save waited for %v and returned %v", got.took, got.err)
		}
		cut.cut(false)
		time.Sleep(time.Minute)
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
