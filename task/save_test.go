package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// savings is a store that records which checkpoints come together, in the order of its calls.
type savings struct {
	task.Store
	// apply, if set, is called instead of the store's for checkpoints.
	apply func(ctx context.Context, changes []task.Change) []error

	mu    sync.Mutex
	calls [][]task.Change
}

func (s *savings) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Status != task.StatusRunning || changes[0].Checkpoint == nil {
		return s.Store.Apply(ctx, changes)
	}
	s.mu.Lock()
	s.calls = append(s.calls, slices.Clone(changes))
	s.mu.Unlock()
	if s.apply != nil {
		return s.apply(ctx, changes)
	}
	return s.Store.Apply(ctx, changes)
}

// sizes returns how many checkpoints came with each call.
func (s *savings) sizes() (sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		sizes = append(sizes, len(c))
	}
	return sizes
}

// slowly returns a call that takes some time.
func (s *savings) slowly(d time.Duration) func(context.Context, []task.Change) []error {
	return func(ctx context.Context, changes []task.Change) []error {
		time.Sleep(d)
		return s.Store.Apply(ctx, changes)
	}
}

// crowd starts a worker with n handlers, and returns when all of them run.
func (b *bench) crowd(store task.Store, n int, handle func(context.Context, *task.Run) error) (stop func(code int)) {
	b.t.Helper()
	b.slots, b.handle = n, handle
	for range n {
		b.enqueue()
	}
	g := b.serve(store)
	synctest.Wait()
	return func(code int) { b.stop(g, code) }
}

func TestSave_AThousandAtOnceAreAFewCalls(t *testing.T) {
	bubble(t, func(b *bench) {
		const n = 1000
		store := &savings{Store: b.store}
		store.apply = store.slowly(time.Millisecond)
		now := make(chan struct{})
		stop := b.crowd(store, n, func(ctx context.Context, r *task.Run) error {
			<-now
			began := time.Now()
			if err := r.Save(ctx, r.ID()); err != nil {
				return err
			}
			if took := time.Since(began); took > 2*time.Millisecond {
				t.Errorf("a save took %v, where a call takes a millisecond", took)
			}
			got, err := b.client.Get(ctx, r.ID())
			if err != nil || string(got.Checkpoint) != fmt.Sprintf("%q", r.ID()) {
				t.Errorf("after Save: %q, %v", got.Checkpoint, err)
			}
			return nil
		})
		close(now)
		synctest.Wait()
		time.Sleep(time.Second)
		stop(0)
		sum := 0
		for _, size := range store.sizes() {
			sum += size
		}
		if sizes := store.sizes(); len(sizes) > 3 || sum != n {
			t.Errorf("calls of %d checkpoints, %d together", sizes, sum)
		}
	})
}

func TestSave_ManyLargeCheckpointsAreNotOneCall(t *testing.T) {
	bubble(t, func(b *bench) {
		const n = 50
		store := &savings{Store: b.store}
		store.apply = store.slowly(time.Millisecond)
		now := make(chan struct{})
		stop := b.crowd(store, n, func(ctx context.Context, r *task.Run) error {
			<-now
			return r.Save(ctx, make([]byte, 700<<10)) // some 930 KiB in base64
		})
		close(now)
		synctest.Wait()
		time.Sleep(time.Second)
		stop(0)
		for _, call := range store.calls {
			bytes := 0
			for _, c := range call {
				bytes += len(c.Checkpoint)
			}
			if bytes > 16<<20 {
				t.Errorf("a call of %d bytes", bytes)
			}
		}
		if c, err := b.client.Count(b.t.Context()); err != nil || len(c.Tasks) != 1 || c.Tasks[0].Status != task.StatusSucceeded {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestSave_OneAloneIsOneCallWithoutDelay(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &savings{Store: b.store}
		stop := b.crowd(store, 1, func(ctx context.Context, r *task.Run) error {
			for i := range 3 {
				began := time.Now()
				if err := r.Save(ctx, i); err != nil {
					return err
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("save %d took %v", i, took)
				}
			}
			return nil
		})
		stop(0)
		if sizes := store.sizes(); !slices.Equal(sizes, []int{1, 1, 1}) {
			t.Errorf("calls of %d checkpoints", sizes)
		}
	})
}

func TestSave_AnErrorOfOneChangesNothingForTheOthers(t *testing.T) {
	bubble(t, func(b *bench) {
		const n = 20
		store := &savings{Store: b.store}
		var refused string
		store.apply = func(ctx context.Context, changes []task.Change) []error {
			time.Sleep(time.Millisecond)
			errs := b.store.Apply(ctx, changes)
			for i, c := range changes {
				if c.Task == refused {
					errs[i] = fmt.Errorf("%w: this one alone", task.ErrInvalid)
				}
			}
			return errs
		}
		now := make(chan struct{})
		var mu sync.Mutex
		failed := make(map[string]error)
		stop := b.crowd(store, n, func(ctx context.Context, r *task.Run) error {
			<-now
			err := r.Save(ctx, 1)
			mu.Lock()
			defer mu.Unlock()
			failed[r.ID()] = err
			return nil
		})
		found, err := b.client.Find(b.t.Context(), task.Query{})
		if err != nil {
			b.t.Fatal(err)
		}
		refused = found[n/2].ID
		close(now)
		time.Sleep(time.Second)
		stop(0)
		for _, f := range found {
			if err := failed[f.ID]; (f.ID == refused) != errors.Is(err, task.ErrInvalid) || f.ID != refused && err != nil {
				t.Errorf("task %s, where %s was refused: %v", f.ID, refused, err)
			}
		}
		if sizes := store.sizes(); len(sizes) > 3 {
			t.Errorf("calls of %d checkpoints: nobody was to be tried again", sizes)
		}
	})
}

func TestSave_IsTriedAgainAlone(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &savings{Store: b.store}
		var tries int
		store.apply = func(ctx context.Context, changes []task.Change) []error {
			if tries++; tries < 3 {
				return slices.Repeat([]error{errors.New("out of reach")}, len(changes))
			}
			return b.store.Apply(ctx, changes)
		}
		stop := b.crowd(store, 1, func(ctx context.Context, r *task.Run) error {
			r.Log("before")
			r.SetProgress(0.5, "half")
			return r.Save(ctx, "at last")
		})
		time.Sleep(time.Second)
		stop(0)
		found, err := b.client.Find(b.t.Context(), task.Query{})
		if err != nil || string(found[0].Checkpoint) != `"at last"` || found[0].Progress.Message != "half" || tries != 3 {
			t.Fatalf("%+v, %v after %d tries", found, err, tries)
		}
		if log, err := b.client.Log(b.t.Context(), found[0].ID); err != nil || string(log) != "before\n" {
			t.Errorf("log %q, %v", log, err)
		}
	})
}

// held is a store whose first call with checkpoints waits.
func held(b *bench) (store *savings, release chan struct{}) {
	store, release = &savings{Store: b.store}, make(chan struct{})
	var called atomic.Bool
	store.apply = func(ctx context.Context, changes []task.Change) []error {
		if !called.Swap(true) {
			<-release
		}
		return b.store.Apply(ctx, changes)
	}
	return store, release
}

func TestSave_ReturnsAtOnceWhenItsContextEndsAndTheNextOneComesBehindIt(t *testing.T) {
	bubble(t, func(b *bench) {
		store, release := held(b)
		enough := errors.New("enough")
		stop := b.crowd(store, 1, func(ctx context.Context, r *task.Run) error {
			short, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(enough) })
			began := time.Now()
			if err := r.Save(short, "first"); !errors.Is(err, enough) || time.Since(began) != time.Second {
				t.Errorf("the first save: %v after %v", err, time.Since(began))
			}
			saved := make(chan error)
			go func() { saved <- r.Save(ctx, "second") }()
			time.Sleep(time.Minute)
			if sizes := store.sizes(); len(sizes) != 1 {
				t.Errorf("the second save was sent while the first was under way")
			}
			close(release)
			if err := <-saved; err != nil {
				return err
			}
			if at := r.Task().Checkpoint; string(at) != `"second"` {
				t.Errorf("the run is at %s", at)
			}
			return nil
		})
		time.Sleep(2 * time.Minute)
		stop(0)
		found, err := b.client.Find(b.t.Context(), task.Query{})
		if err != nil || string(found[0].Checkpoint) != `"second"` {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

func TestSave_IsNotSentAnyMoreWhenItsContextHasEnded(t *testing.T) {
	bubble(t, func(b *bench) {
		store, release := held(b)
		store.apply = func(ctx context.Context, changes []task.Change) []error {
			<-release
			return b.store.Apply(ctx, changes)
		}
		// Three handlers: two fill the calls, and the third one has to wait.
		var mu sync.Mutex
		var order int
		stop := b.crowd(store, 3, func(ctx context.Context, r *task.Run) error {
			mu.Lock()
			order++
			mine := order
			mu.Unlock()
			time.Sleep(time.Duration(mine) * time.Second)
			if mine < 3 {
				return r.Save(ctx, "in time")
			}
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := r.Save(short, "too late"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			close(release)
			return nil
		})
		time.Sleep(time.Minute)
		stop(0)
		for _, call := range store.calls {
			for _, c := range call {
				if string(c.Checkpoint) != `"in time"` {
					t.Errorf("%s was sent", c.Checkpoint)
				}
			}
		}
		if sizes := store.sizes(); !slices.Equal(sizes, []int{1, 1}) {
			t.Errorf("calls of %d checkpoints", sizes)
		}
	})
}

func TestSave_ACallThatTakesLongHoldsUpNoOther(t *testing.T) {
	bubble(t, func(b *bench) {
		store, release := held(b)
		var mu sync.Mutex
		first := true
		stop := b.crowd(store, 10, func(ctx context.Context, r *task.Run) error {
			mu.Lock()
			mine := first
			first = false
			mu.Unlock()
			if !mine {
				time.Sleep(time.Millisecond) // behind the one that is held
			}
			began := time.Now()
			err := r.Save(ctx, 1)
			if took := time.Since(began); !mine && took > 50*time.Millisecond {
				t.Errorf("a save waited for %v", took)
			}
			return err
		})
		time.Sleep(time.Second)
		close(release)
		stop(0)
	})
}

func TestSave_WorksDuringAStopWithinTheReserve(t *testing.T) {
	bubble(t, func(b *bench) {
		const n = 2500
		store := &savings{Store: b.store}
		store.apply = store.slowly(20 * time.Millisecond)
		stop := b.crowd(store, n, func(ctx context.Context, r *task.Run) error {
			<-ctx.Done()
			if err := r.Save(ctx, "the last one"); err != nil {
				t.Errorf("after the interrupt: %v", err)
			}
			return ctx.Err()
		})
		stop(0)
		found, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusInterrupted, Limit: n + 1})
		if err != nil || len(found) != n {
			t.Fatalf("%d interrupted, %v", len(found), err)
		}
		for _, f := range found {
			if string(f.Checkpoint) != `"the last one"` {
				t.Fatalf("%+v", f)
			}
		}
		if sizes := store.sizes(); len(sizes) > 6 {
			t.Errorf("calls of %d checkpoints", sizes)
		}
	})
}

func TestSave_OfARunWhoseWorkerHasEndedIsRefusedAtOnce(t *testing.T) {
	bubble(t, func(b *bench) {
		var left *task.Run
		stop := b.crowd(b.store, 1, func(_ context.Context, r *task.Run) error { left = r; return nil })
		stop(0)
		began := time.Now()
		if err := left.Save(context.WithoutCancel(b.t.Context()), 1); err == nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestProgress_OfManyRunsSharesCallsAndIsKeptUntilItIsWritten(t *testing.T) {
	bubble(t, func(b *bench) {
		const n = 100
		fails := &failing{Store: b.store, times: 2}
		stop := b.crowd(fails, n, func(ctx context.Context, r *task.Run) error {
			r.SetProgress(0.5, "half")
			r.Log("one line")
			time.Sleep(10 * time.Second)
			return nil
		})
		time.Sleep(5 * time.Second)
		found, err := b.client.Find(b.t.Context(), task.Query{Status: task.StatusRunning, Limit: n + 1})
		if err != nil || len(found) != n {
			t.Fatalf("%d running, %v", len(found), err)
		}
		for _, f := range found {
			log, err := b.client.Log(b.t.Context(), f.ID)
			if err != nil || string(log) != "one line\n" || f.Progress.Message != "half" {
				t.Errorf("%q, %+v, %v", log, f.Progress, err)
			}
		}
		if fails.calls > 8 {
			t.Errorf("%d calls", fails.calls)
		}
		time.Sleep(10 * time.Second)
		stop(0)
	})
}

// failing is a store whose first calls for runs that go on take a millisecond and fail.
type failing struct {
	task.Store
	mu           sync.Mutex
	times, calls int
}

func (s *failing) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Status != task.StatusRunning {
		return s.Store.Apply(ctx, changes)
	}
	time.Sleep(time.Millisecond)
	s.mu.Lock()
	s.calls++
	fails := s.calls <= s.times
	s.mu.Unlock()
	if fails {
		return slices.Repeat([]error{errors.New("out of reach")}, len(changes))
	}
	return s.Store.Apply(ctx, changes)
}
