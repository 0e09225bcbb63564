package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// The kinds of the measures. A failed task is retried at once.
var (
	noop  = task.Kind[empty]{Name: "noop", Backoff: atOnce}
	named = task.Kind[numbered]{Name: "named"}
)

func atOnce(int) time.Duration { return 0 }

func workPostgres(w workload) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(store task.Store, db database) (figures, error) { return work(store, w.scaled(), db) })
	}
}

func workSQLite(w workload) func() (figures, error) {
	return func() (figures, error) {
		return onSQLite(func(store task.Store, db database) (figures, error) { return work(store, w.scaled(), db) })
	}
}

// scaled returns the workload with its size divided by load.
func (w workload) scaled() workload {
	w.n /= load
	return w
}

// work enqueues tasks, and measures from the start of a worker until the end of the last task is
// recorded.
func work(store task.Store, w workload, db database) (figures, error) {
	found, err := clocked(db, w.n, func() error { return w.enqueue(store) })
	if err != nil {
		return nil, err
	}
	enqueued := found[perSecond]
	if found, err = serve(store, w, db); err != nil {
		return nil, err
	}
	found[enqueuedPerSecond] = enqueued
	return found, w.checkTasks(store)
}

// enqueuedPerSecond is the rate of enqueuing, measured before the worker starts.
const enqueuedPerSecond = "enqueued /s"

// perCall is how many tasks one call enqueues, unless a measure says otherwise.
const perCall = 1000

// enqueue records the tasks of a workload.
func (w workload) enqueue(store task.Store) error {
	client := task.NewClient(store)
	for made := 0; made < w.n; made += perCall {
		batch, err := w.batch(made, min(perCall, w.n-made))
		if err != nil {
			return err
		}
		if _, err := client.EnqueueMany(context.Background(), batch); err != nil {
			return err
		}
	}
	return nil
}

// batch prepares n tasks, numbered from the given number on.
func (w workload) batch(from, n int) ([]task.NewTask, error) {
	batch := make([]task.NewTask, n)
	for i := range batch {
		var err error
		if w.keyed {
			batch[i], err = named.Prepare(numbered{from + i}, &task.EnqueueOptions{Key: strconv.Itoa(from + i)})
		} else {
			batch[i], err = noop.Prepare(empty{}, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return batch, nil
}

// serve processes the enqueued tasks.
func serve(store task.Store, w workload, db database) (figures, error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mux task.Mux
	task.Handle(&mux, noop, func(ctx context.Context, r *task.Run, _ empty) error {
		if w.within != nil {
			return w.within(ctx, r)
		}
		return w.handle(r)
	})
	task.Handle(&mux, named, func(_ context.Context, r *task.Run, _ numbered) error { return w.handle(r) })
	var ended atomic.Int64
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: w.slots, Logger: quiet, Observe: func(_ context.Context, e task.Event) {
		if e.Status.Ended() && ended.Add(1) == int64(w.n) {
			stop()
		}
	}})
	if err != nil {
		return nil, err
	}
	found, err := clocked(db, w.n, func() error { return worker.Serve(ctx) })
	if err == nil && int(ended.Load()) != w.n {
		err = fmt.Errorf("%d of %d tasks ended", ended.Load(), w.n)
	}
	return found, err
}

// checkTasks checks that all tasks have succeeded, and that the newest ones have what their
// handlers wrote.
func (w workload) checkTasks(store task.Store) error {
	ctx, client := context.Background(), task.NewClient(store)
	if err := allAre(store, task.StatusSucceeded, w.n); err != nil {
		return err
	}
	newest, err := client.Find(ctx, task.Query{Status: task.StatusSucceeded, Limit: 100})
	for i := 0; err == nil && i < len(newest); i++ {
		if err = w.check(ctx, client, newest[i]); err != nil {
			err = fmt.Errorf("task %s: %w", newest[i].ID, err)
		}
	}
	return err
}

// allAre checks that a store has n tasks, all of one status.
func allAre(store task.Store, status task.Status, n int) error {
	counts, err := store.Count(context.Background(), task.CountQuery{})
	if err != nil {
		return err
	}
	found := 0
	for _, c := range counts.Tasks {
		if c.Status != status {
			return fmt.Errorf("%d tasks are %s, all should be %s", c.N, c.Status, status)
		}
		found += c.N
	}
	if found != n {
		return fmt.Errorf("%d tasks are %s, and not %d", found, status, n)
	}
	return nil
}
