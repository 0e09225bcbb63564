package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// The benchmarks work on as many tasks as -benchtime says, as in -benchtime=200000x, on a cluster
// with the settings of a small server, fsync on.
func speedStore(b *testing.B) *Store {
	b.Helper()
	server := pgtest.New(b, "shared_buffers=512MB", "max_wal_size=4GB")
	s := openAt(b, Config{DSN: server.DSN("postgres"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// each calls do for the numbers below n, in batches.
func each(b *testing.B, n, batch, routines int, do func(routine, from, to int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for r := range routines {
		wg.Go(func() {
			for {
				to := int(next.Add(int64(batch)))
				if to-batch >= n {
					return
				}
				if err := do(r, to-batch, min(to, n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tasks/s")
}

func addTasks(b *testing.B, s *Store, n, batch, routines int) {
	each(b, n, batch, routines, func(_, from, to int) error {
		tasks := make([]task.NewTask, 0, to-from)
		for i := from; i < to; i++ {
			tasks = append(tasks, task.NewTask{ID: fmt.Sprintf("01a20590-8ee5-7b09-80e0-%012d", i), Kind: "k", Payload: []byte("{}")})
		}
		_, err := s.Add(b.Context(), tasks)
		return err
	})
}

func BenchmarkEnqueueBatchesOf1000(b *testing.B) {
	s := speedStore(b)
	b.ResetTimer()
	addTasks(b, s, b.N, 1000, 2)
}

func BenchmarkClaimAndFinishBatchesOf500(b *testing.B) {
	s := speedStore(b)
	addTasks(b, s, b.N, 1000, 2)
	const routines = 2
	for r := range routines {
		if _, err := s.Heartbeat(b.Context(), task.Beat{Worker: fmt.Sprint("w", r), Seq: 1, State: task.WorkerRunning}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	each(b, b.N, 500, routines, func(r, from, to int) error {
		got, err := s.Claim(b.Context(), task.ClaimRequest{Worker: fmt.Sprint("w", r), Max: to - from, Kinds: []task.KindClaim{{Kind: "k", Max: to - from}}})
		if err != nil {
			return err
		}
		changes := make([]task.Change, len(got))
		for i, t := range got {
			changes[i] = task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: task.StatusSucceeded}
		}
		for _, err := range s.Apply(b.Context(), changes) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkWorkerOfNoOps(b *testing.B) {
	s := speedStore(b)
	addTasks(b, s, b.N, 1000, 2)
	var mux task.Mux
	var done atomic.Int64
	all := make(chan struct{})
	task.Handle(&mux, task.Kind[struct{}]{Name: "k"}, func(context.Context, *task.Run, struct{}) error {
		if done.Add(1) == int64(b.N) {
			close(all)
		}
		return nil
	})
	w, err := task.NewWorker(task.WorkerConfig{Store: s, Mux: &mux, Concurrency: 2000, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Serve(ctx); err != nil {
			b.Error(err)
		}
	})
	<-all
	stop()
	wg.Wait() // every outcome is recorded
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
