package task_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// hold makes the handler wait for its context, and hands over the cause.
func (b *bench) hold() <-chan error {
	causes := make(chan error, 10)
	b.handle = func(ctx context.Context, r *task.Run) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}
	return causes
}

// slots is a bench's workers' concurrency.
const slots = 10

// many enqueues n tasks and returns their ids.
func (b *bench) many(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = b.enqueue()
	}
	return ids
}

// count returns the number of tasks of a status.
func (b *bench) count(s task.Status) (n int) {
	b.t.Helper()
	synctest.Wait()
	all, err := b.client.Count(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range all.Tasks {
		if c.Status == s {
			n += c.N
		}
	}
	return n
}

// statuses counts tasks.
func (b *bench) statuses() map[task.Status]int {
	b.t.Helper()
	synctest.Wait()
	all, err := b.client.Find(b.t.Context(), task.Query{Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	n := make(map[task.Status]int)
	for _, t := range all {
		n[t.Status]++
	}
	return n
}

// events keeps the events that an observer gets.
type events struct {
	mu  sync.Mutex
	all []task.Event
}

func (e *events) observe(_ context.Context, ev task.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// forever registers a handler that runs until its context ends.
func (b *bench) forever() {
	task.Handle(&b.mux, kind, func(ctx context.Context, _ *task.Run, _ args) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

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
	observe    func(context.Context, task.Event)
	retention  time.Duration
	log        *slog.Logger // nil: the worker's log is dropped
	slots      int
	spare      int
	grace      time.Duration // 0: 10 seconds
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

// serve starts a worker in a group that has b.grace for a stop, a tenth of which is the reserve.
func (b *bench) serve(store task.Store) *lastcall.Group {
	b.t.Helper()
	return b.serveVersion(store, "")
}

// serveVersion is serve of a program that has a version.
func (b *bench) serveVersion(store task.Store, version string) *lastcall.Group {
	b.t.Helper()
	if b.handle != nil && len(b.mux.Kinds()) == 0 {
		b.mux.Use(b.middleware...)
		task.Handle(&b.mux, b.kind, func(ctx context.Context, r *task.Run, _ args) error { return b.handle(ctx, r) })
	}
	quiet := slog.New(slog.DiscardHandler)
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &b.mux, Version: version, Logger: cmp.Or(b.log, quiet), Observe: b.observe, Retention: b.retention,
		Concurrency: b.slots, SpareSlots: b.spare})
	if err != nil {
		b.t.Fatal(err)
	}
	g, err := lastcall.New(b.t.Context(), lastcall.Config{Grace: cmp.Or(b.grace, 10*time.Second), Delay: -1, Logger: quiet})
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
