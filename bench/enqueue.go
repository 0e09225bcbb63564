package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

// bulk is how many tasks one call of the bulk measure enqueues, with either library.
const bulk = 5000

// bulkPostgres enqueues 200,000 tasks.
func bulkPostgres() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) {
		client, w := task.NewClient(store), nothings(200_000, slots).scaled()
		return clocked(db, w.n, func() error {
			for made := 0; made < w.n; made += bulk {
				batch, err := w.batch(made, min(bulk, w.n-made))
				if err != nil {
					return err
				}
				if _, err := client.EnqueueMany(context.Background(), batch); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func riverBulk() (figures, error) {
	w := nothings(200_000, slots).scaled()
	return onRiver(func(client *river.Client[pgx.Tx], _ *pgxpool.Pool, db database) (figures, error) {
		return clocked(db, w.n, func() error { return riverEnqueue(context.Background(), client, w) })
	}, w)
}

// txPostgres enqueues 50,000 tasks in one transaction of the caller's, timed from its begin to its
// commit.
func txPostgres() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) {
		ctx := context.Background()
		c, err := pgx.Connect(ctx, db.dsn)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close(ctx) }() // nothing depends on it
		client, w := task.NewClient(store), nothings(50_000, slots).scaled()
		found, err := clocked(db, w.n, func() error {
			batch, err := w.batch(0, w.n)
			if err != nil {
				return err
			}
			return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
				_, err := client.WithTx(pgstore.Tx(tx)).EnqueueMany(ctx, batch)
				return err
			})
		})
		client.Wake()
		return found, errors.Join(err, allAre(store, task.StatusQueued, w.n))
	})
}

func riverTx() (figures, error) {
	w := nothings(50_000, slots).scaled()
	return onRiver(func(client *river.Client[pgx.Tx], pool *pgxpool.Pool, db database) (figures, error) {
		ctx, inserted := context.Background(), 0
		found, err := clocked(db, w.n, func() error {
			batch := riverBatch(w, 0, w.n)
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
				inserted, err = client.InsertManyFastTx(ctx, tx, batch)
				return err
			})
		})
		if err == nil && inserted != w.n {
			err = fmt.Errorf("%d of %d jobs inserted", inserted, w.n)
		}
		return found, err
	}, w)
}

func enqueueOne() (figures, error)  { return enqueueSingly(1, 500/min(load, 10)) }
func enqueueMany() (figures, error) { return enqueueSingly(64, 20_000/load) }

// enqueueSingly enqueues n tasks into SQLite, each in a call of its own, from several goroutines.
func enqueueSingly(routines, n int) (figures, error) {
	return onSQLite(func(store task.Store, db database) (figures, error) {
		client := task.NewClient(store)
		var (
			wg      sync.WaitGroup
			next    atomic.Int64
			failure atomic.Pointer[error]
		)
		found, err := clocked(db, n, func() error {
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
			return nil
		})
		if err := failure.Load(); err != nil {
			return nil, *err
		}
		return found, errors.Join(err, allAre(store, task.StatusQueued, n))
	})
}

// latency enqueues single tasks with pauses, through a second store, for an idle worker. It
// measures from the call of Enqueue to the start of the handler.
func latency() (figures, error) {
	return withCluster(func(db database) (figures, error) {
		var stores [2]*pgstore.Store
		for i := range stores {
			var err error
			if stores[i], err = openPostgres(db); err != nil {
				return nil, err
			}
		}
		found, err := latencyOf(stores[0], stores[1])
		return found, errors.Join(err, stores[0].Close(), stores[1].Close())
	})
}

func latencyOf(worked, enqueued task.Store) (figures, error) {
	began := make(chan time.Time, 1)
	stop, err := serveNoop(worked, 0, func() { began <- time.Now() })
	if err != nil {
		return nil, err
	}
	var all []float64
	client := task.NewClient(enqueued)
	for i := range 600 / min(load, 20) {
		time.Sleep(time.Duration(5+i%20) * time.Millisecond) // the worker is idle
		at := time.Now()
		if _, err := noop.Enqueue(context.Background(), client, empty{}, nil); err != nil {
			return nil, errors.Join(err, stop())
		}
		select {
		case t := <-began:
			all = append(all, milliseconds(t.Sub(at)))
		case <-time.After(10 * time.Second):
			return nil, errors.Join(fmt.Errorf("task %d has not begun", i), stop())
		}
	}
	return figures{"median ms": quantile(all, 0.5), p99: quantile(all, 0.99)}, stop()
}

// serveNoop starts a worker whose handlers only call a function. It returns a function that stops
// the worker. 0 slots means the default concurrency.
func serveNoop(store task.Store, slots int, does func()) (stop func() error, err error) {
	var mux task.Mux
	task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { does(); return nil })
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: slots, Logger: quiet})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx) }()
	return func() error { cancel(); return <-served }, nil
}
