package task_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// errFull is the error of a handler on a full disk.
var errFull = fmt.Errorf("write /tmp/x: %w", syscall.ENOSPC)

// worker returns a worker with a handler for each name, which is served in a group until the end of
// ctx.
func (b *bench) worker(handlers map[string]func(context.Context, *task.Run) error) *task.Worker {
	b.t.Helper()
	var mux task.Mux
	for name, h := range handlers {
		task.Handle(&mux, task.Kind[args]{Name: name}, func(ctx context.Context, r *task.Run, _ args) error { return h(ctx, r) })
	}
	log := b.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w, err := task.NewWorker(task.WorkerConfig{Store: b.store, Mux: &mux, Logger: log, Concurrency: b.slots})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// serving runs a worker until the function that it returns is called.
func (b *bench) serving(w *task.Worker) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func TestPauseKind_GivesTheTaskBackUncountedAndPausesTheKindForLongerEachTime(t *testing.T) {
	bubble(t, func(b *bench) {
		var log bytes.Buffer
		b.log = slog.New(slog.NewTextHandler(&log, nil))
		var tried []time.Time
		begin := time.Now()
		b.kind.MaxInterruptions = 2
		b.handle = func(context.Context, *task.Run) error {
			tried = append(tried, time.Now())
			if time.Since(begin) > 10*time.Minute {
				return nil
			}
			return task.PauseKind(errFull)
		}
		g := b.serve(b.store)
		id := b.enqueue()
		time.Sleep(10 * time.Minute)
		got := b.want(id, task.StatusInterrupted, task.ReasonReleased, 0, 0, 0)
		if got.InterruptStreak != 0 || got.Error != errFull.Error() {
			t.Errorf("%+v, error %q", got.Counters, got.Error)
		}
		runs, err := b.client.History(t.Context(), id)
		if err != nil || runs[0].Reason != task.ReasonReleased || runs[0].Error != errFull.Error() {
			t.Errorf("history %+v, %v", runs, err)
		}
		time.Sleep(2 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
		for i := 1; i < len(tried); i++ {
			least := min(time.Second<<(i-1), time.Minute)
			if gap := tried[i].Sub(tried[i-1]); gap < least*4/5 || gap > least*6/5+tryLate {
				t.Errorf("%v between tries %d and %d, want about %v", gap, i, i+1, least)
			}
		}
		if len(tried) < 13 || len(tried) > 20 {
			t.Errorf("%d tries in twelve minutes", len(tried))
		}
		for _, want := range []string{"kind paused on this worker", "no space left", "next_try_in", "kind no longer paused"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q", want)
			}
		}
	})
}

// tryLate is how late a try of the only task may be: the worker first looks for another one, and
// polls.
const tryLate = 5*time.Second + 500*time.Millisecond

func TestPauseKind_OneTryAtATimeEndsThePauseWhenItGoesOn(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 10
		var well atomic.Bool
		var running atomic.Int64
		b.handle = func(ctx context.Context, _ *task.Run) error {
			if !well.Load() {
				return task.PauseKind(errFull)
			}
			running.Add(1) // none of them ends before the stop
			<-ctx.Done()
			return ctx.Err()
		}
		g := b.serve(b.store)
		b.many(40)
		synctest.Wait()
		well.Store(true)
		time.Sleep(3 * time.Second) // the try has begun, and has not gone on for long enough
		synctest.Wait()
		if n := running.Load(); n != 1 {
			t.Errorf("%d run during the pause", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := running.Load(); n != 10 {
			t.Errorf("%d run after the pause", n)
		}
		b.stop(g, 0)
	})
}

func TestPauseKind_LeavesOtherKindsAndOtherWorkersAlone(t *testing.T) {
	bubble(t, func(b *bench) {
		done := func(context.Context, *task.Run) error { return nil }
		sick := b.worker(map[string]func(context.Context, *task.Run) error{
			"k": func(context.Context, *task.Run) error { return task.PauseKind(errFull) }, "other": done})
		b.many(30)
		stopSick := b.serving(sick)
		time.Sleep(time.Second)
		if paused := sick.PausedKinds(); len(paused) != 1 || paused[0] != (task.PausedKind{Kind: "k", Reason: syscall.ENOSPC.Error(), Error: errFull.Error()}) {
			t.Errorf("paused are %+v", paused)
		}
		if err := sick.Ready(); err != nil {
			t.Errorf("one kind of two is paused: %v", err)
		}
		if _, err := (task.Kind[args]{Name: "other"}).Enqueue(t.Context(), b.client, args{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := b.count(task.StatusSucceeded); n != 1 {
			t.Errorf("%d tasks of the other kind have succeeded", n)
		}
		stopWell := b.serving(b.worker(map[string]func(context.Context, *task.Run) error{"k": done}))
		time.Sleep(time.Second)
		if n := b.count(task.StatusSucceeded); n < 30 { // one may be a try
			t.Errorf("%d tasks have succeeded", n)
		}
		time.Sleep(maxDelay)
		if n := b.count(task.StatusSucceeded); n != 31 {
			t.Errorf("%d tasks have succeeded", n)
		}
		stopSick()
		stopWell()
	})
}

// maxDelay is how long a task that was tried during a pause waits at most.
const maxDelay = 10 * time.Second

func TestPauseKind_ATaskThatIsToBlameHoldsUpNoOther(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 1
		var bad string
		b.handle = func(_ context.Context, r *task.Run) error {
			if r.ID() == bad {
				return task.PauseKind(errors.New("no room for this one"))
			}
			return nil
		}
		bad = b.enqueue()
		g := b.serve(b.store)
		time.Sleep(5 * time.Minute)
		b.many(20)
		time.Sleep(5 * time.Minute)
		if n := b.count(task.StatusSucceeded); n != 20 {
			t.Errorf("%d of 20 others have succeeded", n)
		}
		b.want(bad, task.StatusInterrupted, task.ReasonReleased, 0, 0, 0)
		b.stop(g, 0)
	})
}

func TestPauseKind_IsSaidByTheWorkerWithinSecondsAndByPendingReason(t *testing.T) {
	bubble(t, func(b *bench) {
		w := b.worker(map[string]func(context.Context, *task.Run) error{
			"k": func(context.Context, *task.Run) error {
				return task.PauseKind(fmt.Errorf("pipe: %w\nmore", syscall.EMFILE))
			},
			"other": func(context.Context, *task.Run) error { return nil }})
		stop := b.serving(w)
		id := b.enqueue()
		time.Sleep(1400 * time.Millisecond)
		workers, err := b.client.Workers(t.Context())
		if err != nil || len(workers) != 1 || len(workers[0].Paused) != 1 || workers[0].Paused[0].Error != "pipe: too many open files" {
			t.Fatalf("workers %+v, %v", workers, err)
		}
		why := task.PendingReason(b.get(id), workers, nil, time.Now())
		if !strings.Contains(why, "too many open files") || !strings.Contains(why, workers[0].Host) {
			t.Errorf("it waits for %q", why)
		}
		other := workers[0]
		other.Paused = nil
		if why := task.PendingReason(b.get(id), append(workers, other), nil, time.Now().Add(time.Minute)); why != "" {
			t.Errorf("with a worker that can run it, it waits for %q", why)
		}
		if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "process lacks") || !strings.Contains(err.Error(), "too many open files") {
			t.Errorf("ready: %v", err)
		}
		stop()
	})
}

func TestPauseKind_AWorkerIsNotReadyWhenEveryKindIsPaused(t *testing.T) {
	bubble(t, func(b *bench) {
		w := b.worker(map[string]func(context.Context, *task.Run) error{
			"k": func(context.Context, *task.Run) error { return task.PauseKind(errors.New("secret /path")) }})
		stop := b.serving(w)
		if err := w.Ready(); err != nil {
			t.Errorf("with nothing to do: %v", err)
		}
		b.enqueue()
		synctest.Wait()
		if err := w.Ready(); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "every kind is paused") {
			t.Errorf("ready: %v", err)
		}
		stop()
	})
}

func TestPauseKind_KeepsACheckpointAndCountsNothingAtATimeoutOrAStop(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.Timeout = time.Minute
		b.handle = func(ctx context.Context, r *task.Run) error {
			<-ctx.Done()
			return task.PauseKind(errors.Join(errFull, r.HandOver(7)))
		}
		g := b.serve(b.store)
		id := b.enqueue()
		time.Sleep(time.Minute)
		if got := b.want(id, task.StatusInterrupted, task.ReasonReleased, 0, 0, 0); string(got.Checkpoint) != "7" {
			t.Errorf("checkpoint %q", got.Checkpoint)
		}
		time.Sleep(5 * time.Second)
		b.want(id, task.StatusRunning, task.ReasonReleased, 0, 0, 0)
		b.stop(g, 0)
		b.want(id, task.StatusInterrupted, task.ReasonReleased, 0, 0, 0)
	})
}

func TestPauseKind_OfAnErrorThatPanicsIsAnAttemptAndOfNilIsNil(t *testing.T) {
	if err := task.PauseKind(nil); err != nil {
		t.Error(err)
	}
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error { return task.PauseKind((*nilError)(nil)) }
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusQueued, "", 1, 0, 0)
		b.stop(g, 0)
	})
}

func TestPauseKind_AFleetThatLacksItTriesItAFewTimesAMinuteOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, store: memstore.New(), kind: kind}
		b.client = task.NewClient(b.store)
		var runs atomic.Int64
		lacking := map[string]func(context.Context, *task.Run) error{"k": func(context.Context, *task.Run) error {
			runs.Add(1)
			return task.PauseKind(errFull)
		}}
		var stops []func()
		for range 5 {
			stops = append(stops, b.serving(b.worker(lacking)))
		}
		b.many(3)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before := runs.Load()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := runs.Load() - before; before > 5*10 || n > 5*4 {
			t.Errorf("%d tries in the first two minutes, %d in the next", before, n)
		}
		for _, stop := range stops {
			stop()
		}
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
}
