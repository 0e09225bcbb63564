package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// crowded is a store whose Apply takes its time, and counts what comes together.
type crowded struct {
	task.Store
	mu    sync.Mutex
	sizes []int
	hold  chan struct{} // Apply waits for it to be closed
	fail  error
}

func (s *crowded) Apply(ctx context.Context, changes []task.Change) []error {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(changes))
	fail := s.fail
	s.fail = nil
	s.mu.Unlock()
	<-s.hold
	if fail != nil {
		errs := make([]error, len(changes))
		for i := range errs {
			errs[i] = fail
		}
		return errs
	}
	return s.Store.Apply(ctx, changes)
}

func TestRecorder_EndsThatComeWhileOthersAreWrittenAreWrittenTogether(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &crowded{Store: b.store, hold: make(chan struct{}), fail: errors.New("the answer was lost")}
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { return nil })
		for i := range 10 {
			if _, err := kind.Enqueue(b.t.Context(), b.client, args{N: i}, nil); err != nil {
				b.t.Fatal(err)
			}
		}
		g := b.serve(store)
		synctest.Wait() // ten ends, and none is written yet
		close(store.hold)
		g.Stop(nil)
		b.stop(g, 0)
		done, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusSucceeded})
		if err != nil || len(done) != 10 {
			b.t.Errorf("%d succeeded, %v", len(done), err)
		}
		// What came before the first call began, the rest in a second or third call, and those whose call
		// failed once more.
		if len(store.sizes) < 2 || len(store.sizes) > 4 {
			b.t.Errorf("calls of %s changes", fmt.Sprint(store.sizes))
		}
	})
}

// An end that comes while two calls are about to be done may be written by one of them before a
// call for it begins. The race detector reports it if that one begins when the wait may be over.
func TestWorker_WaitsForEveryCallThatWritesEnds(t *testing.T) {
	for range 500 {
		bubble(t, func(b *bench) {
			release := make(chan struct{})
			task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { <-release; return nil })
			for range 4 {
				b.enqueue()
			}
			g := b.serve(b.store)
			synctest.Wait()
			g.Stop(nil)
			synctest.Wait() // the worker waits for its handlers
			close(release)
			b.stop(g, 0)
		})
	}
}

// stubborn is a store that can never write the end of one task.
type stubborn struct {
	task.Store
	id string
}

func (s *stubborn) Apply(ctx context.Context, changes []task.Change) []error {
	errs := s.Store.Apply(ctx, slices.DeleteFunc(slices.Clone(changes), func(c task.Change) bool { return c.Task == s.id }))
	for i, c := range changes {
		if c.Task == s.id {
			errs = slices.Insert(errs, i, errors.New("cannot be written"))
		}
	}
	return errs
}

func TestRecorder_AnEndThatCannotBeWrittenHoldsBackNoOther(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &stubborn{Store: b.store, id: b.enqueue()}
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(store)
		for range 30 {
			time.Sleep(time.Second)
			began := time.Now()
			done, err := b.client.Wait(b.t.Context(), b.enqueue())
			if took := time.Since(began); err != nil || done.Status != task.StatusSucceeded || took > 100*time.Millisecond {
				t.Fatalf("%s after %v, %v", done.Status, took, err)
			}
		}
		g.Stop(nil)
		g.Wait()
	})
}

func TestRecorder_AnEndThatComesLongAfterACallBeganDoesNotWaitForIt(t *testing.T) {
	bubble(t, func(b *bench) {
		release := make(chan struct{})
		hung := &hanging{Store: b.store, release: release}
		b.handle = func(context.Context, *task.Run) error { return nil }
		first := b.enqueue()
		g := b.serve(hung)
		time.Sleep(10 * time.Second)
		done, err := b.client.Wait(b.t.Context(), b.enqueue())
		if err != nil || done.Status != task.StatusSucceeded || done.Finished.Sub(done.Started) > 100*time.Millisecond {
			t.Errorf("%+v, %v", done, err)
		}
		if got, err := b.client.Get(b.t.Context(), first); err != nil || got.Status != task.StatusRunning {
			t.Errorf("the first one is %s, %v", got.Status, err)
		}
		close(release)
		b.stop(g, 0)
	})
}

// hanging is a store whose first Apply hangs.
type hanging struct {
	task.Store
	once    sync.Once
	release chan struct{}
}

func (s *hanging) Apply(ctx context.Context, changes []task.Change) []error {
	wait := false
	s.once.Do(func() { wait = true })
	if wait {
		<-s.release
	}
	return s.Store.Apply(ctx, changes)
}

func TestRecorder_ManyLargeEndsAreNotOneCall(t *testing.T) {
	bubble(t, func(b *bench) {
		const n = 50
		store := &weighed{Store: b.store}
		b.slots = n
		now := make(chan struct{})
		b.handle = func(ctx context.Context, r *task.Run) error {
			<-now
			return r.SetResult(make([]byte, 700<<10)) // some 930 KiB in base64
		}
		for range n {
			b.enqueue()
		}
		g := b.serve(store)
		synctest.Wait()
		close(now)
		time.Sleep(time.Second)
		b.stop(g, 0)
		done, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusSucceeded})
		if err != nil || len(done) != n {
			t.Errorf("%d succeeded, %v", len(done), err)
		}
		if store.most > 16<<20 || store.calls > 8 {
			t.Errorf("%d calls, the largest of %d bytes", store.calls, store.most)
		}
	})
}

// weighed is a store that takes a millisecond for a call, and records how many bytes it got.
type weighed struct {
	task.Store
	mu          sync.Mutex
	calls, most int
}

func (s *weighed) Apply(ctx context.Context, changes []task.Change) []error {
	bytes := 0
	for _, c := range changes {
		bytes += len(c.Result) + len(c.Checkpoint)
	}
	s.mu.Lock()
	s.calls, s.most = s.calls+1, max(s.most, bytes)
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	return s.Store.Apply(ctx, changes)
}

func TestOutcome_IsWrittenAgainUntilTheStoreTakesIt(t *testing.T) {
	bubble(t, func(b *bench) {
		faulty := &faultyStore{Store: b.store}
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { faulty.cut(true); return nil })
		g := b.serve(faulty)
		id := b.enqueue()
		time.Sleep(5 * time.Second)
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		faulty.cut(false)
		time.Sleep(10 * time.Second)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestOutcome_ThatCannotBeWrittenBeforeTheEndIsExitCode75(t *testing.T) {
	bubble(t, func(b *bench) {
		faulty := &faultyStore{Store: b.store}
		task.Handle(&b.mux, kind, func(ctx context.Context, _ *task.Run, _ args) error {
			<-ctx.Done()
			faulty.cut(true)
			return ctx.Err()
		})
		g := b.serve(faulty)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		g.Stop(nil)
		if code := g.Wait().ExitCode(); code == 0 {
			t.Errorf("exit code %d, though nothing was recorded", code)
		}
		synctest.Wait()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
	})
}
