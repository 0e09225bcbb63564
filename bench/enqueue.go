package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/sqlitestore"
	"github.com/lastcall-go/lastcall/task"
)

// bulk is how many tasks one call of the bulk measure hands over, to either library.
const bulk = 5000

func bulkPostgres() (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		client, n := task.NewClient(store), 200_000/load
		took, err := clocked(server.PID(), n, func() error {
			for made := 0; made < n; made += bulk {
				batch := make([]task.NewTask, min(bulk, n-made))
				for i := range batch {
					var err error
					if batch[i], err = noop.Task(empty{}, nil); err != nil {
						return err
					}
				}
				if _, err := client.EnqueueMany(context.Background(), batch); err != nil {
					return err
				}
			}
			return nil
		})
		return float64(n) / took.Seconds(), errors.Join(err, store.Close())
	})
}

func riverBulk() (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		pool, err := pgxpool.New(context.Background(), server.DSN("postgres"))
		if err != nil {
			return 0, err
		}
		defer pool.Close()
		workers := river.NewWorkers()
		river.AddWorker(workers, &riverNoop{})
		client, err := newRiver(context.Background(), riverpgxv5.New(pool), workers, slots)
		if err != nil {
			return 0, err
		}
		n := 200_000 / load
		took, err := clocked(server.PID(), n, func() error { return riverInsert(client, n) })
		return float64(n) / took.Seconds(), err
	})
}

func riverInsert[Tx any](client *river.Client[Tx], n int) error {
	for made := 0; made < n; made += bulk {
		batch := make([]river.InsertManyParams, min(bulk, n-made))
		for i := range batch {
			batch[i].Args = empty{}
		}
		if _, err := client.InsertManyFast(context.Background(), batch); err != nil {
			return err
		}
	}
	return nil
}

func enqueueOne() (float64, error)  { return enqueueSingly(1, 500/min(load, 10)) }
func enqueueMany() (float64, error) { return enqueueSingly(64, 20_000/load) }

// enqueueSingly enqueues n tasks into SQLite, each in a call of its own, from so many goroutines, and
// returns tasks a second.
func enqueueSingly(routines, n int) (float64, error) {
	return withFile(func(path string) (float64, error) {
		store, err := sqlitestore.Open(context.Background(), sqlitestore.Config{Path: path, Logger: quiet})
		if err != nil {
			return 0, err
		}
		client := task.NewClient(store)
		var (
			wg      sync.WaitGroup
			next    atomic.Int64
			failure atomic.Pointer[error]
		)
		began := time.Now()
		for range routines {
			wg.Go(func() {
				for int(next.Add(1)) <= n {
					if _, err := noop.Enqueue(context.Background(), client, empty{}, nil); err != nil {
						failure.Store(&err)
						return
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		if err := failure.Load(); err != nil {
			return 0, *err
		}
		return float64(n) / took.Seconds(), store.Close()
	})
}

func latencyMedian() (float64, error) { return latency(0.5) }
func latencyTail() (float64, error)   { return latency(0.99) }

// latency enqueues single tasks, with pauses, through a store of its own, for a worker that is idle,
// and returns a quantile of the times from the call of Enqueue to the begin of the handler.
func latency(quantile float64) (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		stores := [2]task.Store{}
		for i := range stores {
			var err error
			if stores[i], err = openPostgres(server); err != nil {
				return 0, err
			}
		}
		began := make(chan time.Time, 1)
		var mux task.Mux
		task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { began <- time.Now(); return nil })
		w, err := task.NewWorker(task.WorkerConfig{Store: stores[0], Mux: &mux, Logger: quiet})
		if err != nil {
			return 0, err
		}
		served := make(chan error, 1)
		go func() { served <- w.Serve(ctx) }()
		var all []float64
		client := task.NewClient(stores[1])
		for i := range 600 / min(load, 20) {
			time.Sleep(time.Duration(5+i%20) * time.Millisecond) // the worker is idle
			at := time.Now()
			if _, err := noop.Enqueue(ctx, client, empty{}, nil); err != nil {
				return 0, err
			}
			select {
			case t := <-began:
				all = append(all, milliseconds(t.Sub(at)))
			case <-time.After(10 * time.Second):
				return 0, fmt.Errorf("task %d has not begun", i)
			}
		}
		stop()
		slices.Sort(all)
		return all[int(float64(len(all)-1)*quantile)], errors.Join(<-served, stores[0].Close(), stores[1].Close())
	})
}
