package task_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// bench is a store with a client, and a mux for the handlers of a test.
type bench struct {
	t      *testing.T
	store  *memstore.Store
	client *task.Client
	mux    task.Mux

	// handle, if set, is registered for kind by the first serve.
	handle     func(context.Context, *task.Run) error
	kind       task.Kind[args]
	middleware []func(task.Handler) task.Handler
	observe    func(task.Event)
	retention  time.Duration
	log        *slog.Logger // nil: nobody hears the worker
	slots      int
}

// args is the payload of the tests' kind.
type args struct{ N int }

// kind is the tests' kind, with short backoffs.
var kind = task.Kind[args]{Name: "k", MaxAttempts: 3, MaxCrashes: 3, Backoff: func(n int) time.Duration { return time.Duration(n) * time.Minute }}

// bubble runs a test in which time is fake.
func bubble(t *testing.T, fn func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		b := &bench{t: t, store: s, client: task.NewClient(s), kind: kind}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		fn(b)
	})
}

// serve starts a worker in a group that has 10 seconds for a stop, one of which is the reserve.
func (b *bench) serve(store task.Store) *lastcall.Group {
	b.t.Helper()
	if b.handle != nil && len(b.mux.Kinds()) == 0 {
		b.mux.Use(b.middleware...)
		task.Handle(&b.mux, b.kind, func(ctx context.Context, r *task.Run, _ args) error { return b.handle(ctx, r) })
	}
	quiet := slog.New(slog.DiscardHandler)
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &b.mux, Logger: cmp.Or(b.log, quiet), Observe: b.observe, Retention: b.retention,
		Concurrency: b.slots})
	if err != nil {
		b.t.Fatal(err)
	}
	g, err := lastcall.New(b.t.Context(), lastcall.Config{Grace: 10 * time.Second, Delay: -1, Logger: quiet})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := g.Go("worker", w.Serve); err != nil {
		b.t.Fatal(err)
	}
	return g
}

// stop stops a group and checks the exit code.
func (b *bench) stop(g *lastcall.Group, code int) {
	b.t.Helper()
	g.Stop(nil)
	if r := g.Wait(); r.ExitCode() != code {
		b.t.Errorf("exit code %d, want %d: %+v", r.ExitCode(), code, r)
	}
}

func (b *bench) enqueue() string {
	b.t.Helper()
	e, err := kind.Enqueue(b.t.Context(), b.client, args{N: 1}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return e.ID
}

func (b *bench) get(id string) task.Task {
	b.t.Helper()
	got, err := b.client.Get(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// want checks a task's status, reason and counters.
func (b *bench) want(id string, status task.Status, reason task.Reason, attempts, interruptions, crashes int) task.Task {
	b.t.Helper()
	synctest.Wait()
	got := b.get(id)
	if got.Status != status || got.Reason != reason || got.Attempts != attempts || got.Interruptions != interruptions || got.Crashes != crashes {
		b.t.Errorf("task is %s (%s) with %+v, error %q; want %s (%s) with %d, %d, %d",
			got.Status, got.Reason, got.Counters, got.Error, status, reason, attempts, interruptions, crashes)
	}
	return got
}

func TestNilIsSuccess(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(_ context.Context, r *task.Run, a args) error {
			if a.N != 1 || r.ID() == "" || r.FencingToken() == 0 {
				t.Errorf("args %+v, id %q, fence %d", a, r.ID(), r.FencingToken())
			}
			return nil
		})
		g := b.serve(b.store)
		id := b.enqueue()
		if got := b.want(id, task.StatusSucceeded, "", 0, 0, 0); got.Finished.IsZero() || got.Runs != 1 {
			t.Errorf("%+v", got)
		}
		b.stop(g, 0)
	})
}

func TestAnErrorIsAnAttemptThatWaitsForItsBackoffUntilTheCap(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { return errors.New("no\x00luck") })
		g := b.serve(b.store)
		id := b.enqueue()
		if got := b.want(id, task.StatusQueued, "", 1, 0, 0); got.Error != "no\uFFFDluck" {
			t.Errorf("error is %q", got.Error)
		}
		time.Sleep(59 * time.Second)
		b.want(id, task.StatusQueued, "", 1, 0, 0)
		time.Sleep(2 * time.Second)
		b.want(id, task.StatusQueued, "", 2, 0, 0)
		time.Sleep(3 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		b.stop(g, 0)
	})
}

func TestAPermanentErrorFailsAtOnceAndAPayloadThatDoesNotFitIsOne(t *testing.T) {
	bubble(t, func(b *bench) {
		cause := errors.New("broken for good")
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { return task.Permanent(cause) })
		g := b.serve(b.store)
		b.want(b.enqueue(), task.StatusFailed, "", 1, 0, 0)
		e, err := b.client.Enqueue(t.Context(), "k", []byte(`{"N": "one"}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.want(e.ID, task.StatusFailed, "", 1, 0, 0); !strings.Contains(got.Error, "does not fit") || string(got.Payload) != `{"N": "one"}` {
			t.Errorf("error %q, payload %q", got.Error, got.Payload)
		}
		b.stop(g, 0)
	})
}

func TestAPanicIsAnAttemptWithItsStack(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { panic("oh") })
		g := b.serve(b.store)
		if got := b.want(b.enqueue(), task.StatusQueued, "", 1, 0, 0); !strings.Contains(got.Error, "panic: oh") || !strings.Contains(got.Error, "worker_test.go") {
			t.Errorf("error %q", got.Error)
		}
		b.stop(g, 0)
	})
}

func TestATimeoutIsAnAttempt(t *testing.T) {
	bubble(t, func(b *bench) {
		k := kind
		k.Timeout = time.Hour
		task.Handle(&b.mux, k, func(ctx context.Context, _ *task.Run, _ args) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		time.Sleep(time.Hour + time.Second)
		if got := b.want(id, task.StatusQueued, "", 1, 0, 0); got.Error != task.ErrTimeout.Error() {
			t.Errorf("error %q", got.Error)
		}
		b.stop(g, 0)
	})
}

func TestAHandlerThatIgnoresItsTimeoutKeepsItsSlotAndItsTaskWaits(t *testing.T) {
	bubble(t, func(b *bench) {
		k := kind
		k.Timeout, k.Concurrency = time.Minute, 1
		ignores := true
		task.Handle(&b.mux, k, func(context.Context, *task.Run, args) error {
			if !ignores {
				return nil
			}
			ignores = false
			time.Sleep(time.Hour)
			return errors.New("at last")
		})
		g := b.serve(b.store)
		first := b.enqueue()
		synctest.Wait()
		second := b.enqueue()
		time.Sleep(59 * time.Minute)
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		b.want(second, task.StatusQueued, "", 0, 0, 0)
		time.Sleep(time.Minute + time.Second)
		b.want(first, task.StatusQueued, "", 1, 0, 0)
		b.want(second, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestErrInterruptedWithoutAStopIsAnAttempt(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error { return r.HandOver(7) })
		g := b.serve(b.store)
		if got := b.want(b.enqueue(), task.StatusQueued, "", 1, 0, 0); string(got.Checkpoint) != "7" {
			t.Errorf("checkpoint %q", got.Checkpoint)
		}
		b.stop(g, 0)
	})
}

func TestConcurrencyIsBoundedInTotalAndByKind(t *testing.T) {
	bubble(t, func(b *bench) {
		var now, most, narrow, mostNarrow atomic.Int32
		work := func(now, most *atomic.Int32) {
			n := now.Add(1)
			most.Store(max(most.Load(), n))
			time.Sleep(time.Second)
			now.Add(-1)
		}
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { work(&now, &most); return nil })
		task.Handle(&b.mux, task.Kind[args]{Name: "narrow", Concurrency: 2}, func(context.Context, *task.Run, args) error {
			work(&narrow, &mostNarrow)
			return nil
		})
		for range 30 {
			b.enqueue()
			if _, err := b.client.Enqueue(t.Context(), "narrow", []byte("{}"), nil); err != nil {
				t.Fatal(err)
			}
		}
		g := b.serve(b.store)
		time.Sleep(time.Minute)
		left, err := b.client.Find(t.Context(), task.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		left = slices.DeleteFunc(left, func(t task.Task) bool { return t.Status == task.StatusSucceeded })
		if len(left) != 0 || mostNarrow.Load() != 2 || most.Load() < 8 || most.Load() > 10 {
			t.Errorf("%d left; at most %d and %d at once", len(left), most.Load(), mostNarrow.Load())
		}
		b.stop(g, 0)
	})
}

func TestAnOutcomeIsWrittenAgainUntilTheStoreTakesIt(t *testing.T) {
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

func TestAnOutcomeThatCannotBeWrittenBeforeTheEndIsExitCode75(t *testing.T) {
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

// faultyStore is a store that can be cut off.
type faultyStore struct {
	task.Store
	mu  sync.Mutex
	off bool
}

var errCut = errors.New("the store is out of reach")

func (f *faultyStore) cut(off bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = off
}

func (f *faultyStore) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return errCut
	}
	return nil
}

func (f *faultyStore) Apply(ctx context.Context, c []task.Change) []error {
	if err := f.err(); err != nil {
		errs := make([]error, len(c))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	return f.Store.Apply(ctx, c)
}

func (f *faultyStore) Claim(ctx context.Context, r task.ClaimRequest) ([]task.Task, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Claim(ctx, r)
}

func (f *faultyStore) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	if err := f.err(); err != nil {
		return task.BeatReply{}, err
	}
	return f.Store.Heartbeat(ctx, b)
}

func (f *faultyStore) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Workers(ctx)
}
