package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// steadyRate is how many tasks are enqueued per second.
const steadyRate = 20_000

// minutes is how long the steady load lasts. A snapshot is held from 0:30 to 3:30. The server
// vacuums once a minute, so the tables reach their final size a minute later, and then they must
// not grow.
const minutes = 5

// The figures of a steady load.
const (
	firstClaim = "claims p99, first minute ms"
	laterClaim = "claims p99, worst of the others ms"
	firstEnd   = "ends p99, first minute ms"
	laterEnd   = "ends p99, worst of the others ms"
	sizeAfter  = "tables a minute after the snapshot MiB"
	sizeLast   = "tables at the end MiB"
	steadily   = "worked /s"
)

// steady enqueues, processes and prunes at a steady rate.
type steady struct {
	db     database
	store  *timedStore
	client *task.Client
	minute time.Duration
	rate   int
	began  time.Time
	ended  atomic.Int64
	found  figures
}

func steadyLoad() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) {
		timed := &timedStore{Store: store}
		s := &steady{db: db, store: timed, client: task.NewClient(store), minute: time.Minute / time.Duration(min(load, 60)),
			rate: steadyRate / min(load, 20), found: figures{}}
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		var mux task.Mux
		task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { return nil })
		w, err := task.NewWorker(task.WorkerConfig{Store: timed, Mux: &mux, Concurrency: slots, Retention: -1, Logger: quiet,
			Observe: func(_ context.Context, e task.Event) {
				if e.Status.Ended() {
					s.ended.Add(1)
				}
			}})
		if err != nil {
			return nil, err
		}
		var all sync.WaitGroup
		errs := make(chan error, 4)
		s.began = time.Now()
		for _, part := range []func(context.Context) error{w.Serve, s.enqueue, s.prune} {
			all.Go(func() {
				if err := part(ctx); err != nil {
					errs <- err
					stop()
				}
			})
		}
		err = s.watch(ctx)
		stop()
		all.Wait()
		close(errs)
		for e := range errs {
			err = errors.Join(err, e)
		}
		return s.found, err
	})
}

// enqueue enqueues the tasks of a twentieth of a second at a time, and catches up when it was late.
func (s *steady) enqueue(ctx context.Context) error {
	w := nothings(0, slots)
	for made := 0; ctx.Err() == nil; {
		due := min(int(time.Since(s.began).Seconds()*float64(s.rate))-made, bulk)
		if due < s.rate/20 {
			sleep(ctx, 5*time.Millisecond)
			continue
		}
		batch, err := w.batch(made, due)
		if err != nil {
			return err
		}
		if _, err := s.client.EnqueueMany(context.WithoutCancel(ctx), batch); err != nil {
			return err
		}
		made += due
	}
	return nil
}

// prune removes, every second, the tasks that ended a sixth of a minute ago.
func (s *steady) prune(ctx context.Context) error {
	for sleep(ctx, s.minute/60); ctx.Err() == nil; sleep(ctx, s.minute/60) {
		if _, err := prune(s.store, task.PruneRequest{Age: s.minute / 6, Max: 1000}, nil); err != nil {
			return err
		}
	}
	return nil
}

// watch holds the snapshot and records the figures, minute by minute.
func (s *steady) watch(ctx context.Context) (err error) {
	c, err := pgx.Connect(ctx, s.db.dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	var release func() error
	for half := 1; half <= 2*minutes && ctx.Err() == nil; half++ {
		sleep(ctx, time.Until(s.began.Add(time.Duration(half)*s.minute/2)))
		switch half {
		case 1:
			release, err = oldSnapshot(s.db)
		case 7:
			err = release()
		}
		if err == nil {
			err = s.note(ctx, c, half)
		}
		if err != nil {
			return err
		}
	}
	s.found[steadily] = float64(s.ended.Load()) / time.Since(s.began).Seconds()
	return ctx.Err()
}

// note records the figures of a half or a whole minute.
func (s *steady) note(ctx context.Context, c *pgx.Conn, half int) error {
	var size, dead int64
	if err := c.QueryRow(ctx, tableSize).Scan(&size, &dead); err != nil {
		return err
	}
	switch half {
	case 2*minutes - 1:
		s.found[sizeAfter] = float64(size) / (1 << 20)
	case 2 * minutes:
		s.found[sizeLast] = float64(size) / (1 << 20)
	}
	if half%2 == 1 {
		return nil
	}
	claim, end := quantile(s.store.claims.take(), 0.99), quantile(s.store.ends.take(), 0.99)
	if half == 2 {
		s.found[firstClaim], s.found[firstEnd] = claim, end
	} else {
		s.found[laterClaim], s.found[laterEnd] = max(s.found[laterClaim], claim), max(s.found[laterEnd], end)
	}
	fmt.Fprintf(os.Stderr, "    minute %d: %d tasks ended, p99 of claims %.1f ms, of ends %.1f ms; tables %d MiB, %d dead rows\n",
		half/2, s.ended.Load(), claim, end, size>>20, dead)
	return nil
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
