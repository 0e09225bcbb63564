package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// claims is how many claims of a hundred tasks are timed.
const claims = 300

// condition is the content of the store before claims are timed.
type condition struct {
	queued  int // tasks of the claimed kind
	taken   int // tasks that were claimed before, while another session held an old snapshot
	future  int // tasks of the claimed kind that are not due yet
	foreign int // tasks of a kind that is not claimed, with a higher priority
}

// claimAmong measures claims of a hundred tasks each.
func claimAmong(c condition) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(store task.Store, db database) (found figures, err error) {
			c, claims := condition{c.queued, c.taken / load, c.future / load, c.foreign / load}, claims/min(load, 10)
			if c.queued > claims*100 {
				c.queued = max(c.queued/load, claims*100)
			}
			if err := c.prepare(store); err != nil {
				return nil, err
			}
			// Give the server time to collect its statistics, as it would have had in production.
			if err := execute(db.dsn, `vacuum analyze`, `checkpoint`); err != nil {
				return nil, err
			}
			if _, err := store.Heartbeat(context.Background(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
				return nil, err
			}
			if c.taken > 0 {
				release, err := oldSnapshot(db)
				if err != nil {
					return nil, err
				}
				defer func() { err = errors.Join(err, release()) }()
				for n := 0; n < c.taken; n += 1000 {
					if _, err := claimOnce(store, min(1000, c.taken-n)); err != nil {
						return nil, err
					}
				}
			}
			var all []float64
			for range claims {
				took, err := claimOnce(store, 100)
				if err != nil {
					return nil, err
				}
				all = append(all, took)
			}
			return figures{p99: quantile(all, 0.99)}, nil
		})
	}
}

// prepare enqueues the tasks of the condition.
func (c condition) prepare(store task.Store) error {
	client := task.NewClient(store)
	for _, f := range []struct {
		kind string
		n    int
		opt  *task.EnqueueOptions
	}{
		{noop.Name, c.queued + c.taken, nil},
		{noop.Name, c.future, &task.EnqueueOptions{Delay: time.Hour}},
		{"foreign", c.foreign, &task.EnqueueOptions{Priority: 5}},
	} {
		for made := 0; made < f.n; made += bulk {
			batch := make([]task.NewTask, min(bulk, f.n-made))
			for i := range batch {
				var err error
				if batch[i], err = task.Prepare(f.kind, []byte("{}"), f.opt); err != nil {
					return err
				}
			}
			if _, err := client.EnqueueMany(context.Background(), batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// oldSnapshot opens a transaction that has read something and stays idle until release is called.
// Vacuum cannot remove what is deleted meanwhile.
func oldSnapshot(db database) (release func() error, err error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, `begin isolation level repeatable read; select count(*) from pg_class`); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return func() error { return c.Close(ctx) }, nil
}

// claimOnce claims n tasks and returns how many milliseconds that took.
func claimOnce(store task.Store, n int) (float64, error) {
	began := time.Now()
	got, err := store.Claim(context.Background(), task.ClaimRequest{Worker: "w", Max: n, Suspects: 1, Kinds: []task.KindClaim{{Kind: noop.Name, Max: n}}})
	if err == nil && len(got) != n {
		err = fmt.Errorf("claimed %d tasks of %d", len(got), n)
	}
	return milliseconds(time.Since(began)), err
}
