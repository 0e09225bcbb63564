package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// commandedTasks is how many failed tasks are retried by a filter. As many are deleted by another
// one.
var commandedTasks = 1_000_000

// The figures of commands by filter. The claims are those of a worker that serves a steady load
// meanwhile.
const (
	retriedIn       = "retry s"
	deletedIn       = "delete s"
	claimsBefore    = "claims p99, before ms"
	claimsRetrying  = "claims p99, meanwhile retry ms"
	claimsDeleting  = "claims p99, meanwhile delete ms"
	commandedRate   = 2_000 // tasks enqueued, and processed, per second
	commandedBefore = 20 * time.Second
)

var commandedMeasure = measure{
	name: "pgcommand", what: "retry, and delete, 1,000,000 failed tasks by kind and text in the error, while 2,000/s are worked",
	contenders: []contender{once(ours, commanded)},
	promises: []promise{
		{what: "retry", ours: figure{ours, retriedIn}, most: 60},
		{what: "delete", ours: figure{ours, deletedIn}, most: 60},
		{what: "claims while retrying, p99", ours: figure{ours, claimsRetrying}, peer: figure{ours, claimsBefore}, most: 2},
		{what: "claims while deleting, p99", ours: figure{ours, claimsDeleting}, peer: figure{ours, claimsBefore}, most: 2},
	},
}

// commanded records failed tasks of two kinds. By a filter it retries those of one kind and deletes
// those of the other, while a worker processes a steady load of a third kind.
func commanded() (figures, error) {
	return onPostgres(func(store task.Store, db database) (found figures, err error) {
		n := max(commandedTasks/load, 1000)
		l := &loader{store: store, client: task.NewClient(store)}
		for _, kind := range []string{report, mail} {
			if err := l.fill(portion{kind, n, defaultQueue, withoutKey, bulk, fail}); err != nil {
				return nil, err
			}
		}
		// Give the server time to collect its statistics, as it would have had in production.
		if err := execute(db.dsn, `vacuum analyze`, `checkpoint`); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "    %d failed tasks of two kinds are recorded\n", 2*n)
		timed := &timedStore{Store: store}
		found = figures{}
		err = beside(timed, func(ctx context.Context) error {
			sleep(ctx, commandedBefore/time.Duration(min(load, 10)))
			found[claimsBefore] = quantile(timed.claims.take(), 0.99)
			for _, c := range []struct {
				verb           task.Verb
				kind, in, late string
			}{{task.VerbRetry, report, retriedIn, claimsRetrying}, {task.VerbDelete, mail, deletedIn, claimsDeleting}} {
				timed.claims.take()
				began := time.Now()
				q := task.Query{Kind: c.kind, Status: task.StatusFailed, ErrorText: "refused"}
				done, err := l.client.As("bench", "the mail server is back").Bulk(ctx, c.verb, q, nil)
				if err == nil && done.Done != n {
					err = fmt.Errorf("%s: %+v, want %d tasks", c.verb, done, n)
				}
				if err != nil {
					return err
				}
				found[c.in] = time.Since(began).Seconds()
				found[c.late] = quantile(timed.claims.take(), 0.99)
			}
			return nil
		})
		return found, err
	})
}

// This helper calls a function while a worker processes a steady load.
func beside(store task.Store, do func(context.Context) error) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mux task.Mux
	task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { return nil })
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: 100, Retention: -1, Logger: quiet})
	if err != nil {
		return err
	}
	s := &steady{client: task.NewClient(store), rate: commandedRate, began: time.Now()}
	var (
		all  sync.WaitGroup
		errs = make(chan error, 2)
	)
	for _, part := range []func(context.Context) error{w.Serve, s.enqueue} {
		all.Go(func() {
			if err := part(ctx); err != nil {
				errs <- err
				stop()
			}
		})
	}
	err = do(ctx)
	stop()
	all.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}
