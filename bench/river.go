package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// Kind names the job for River.
func (empty) Kind() string { return noop.Name }

// Kind names the job for River.
func (numbered) Kind() string { return named.Name }

// InsertOpts makes the job the only unfinished one with its arguments.
func (numbered) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

// riverWorker is the handler of River. A failed job is retried at once.
type riverWorker[T river.JobArgs] struct {
	river.WorkerDefaults[T]
	work func(ctx context.Context, job *rivertype.JobRow) error
}

func (w *riverWorker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	return w.work(ctx, job.JobRow)
}

func (w *riverWorker[T]) NextRetry(*river.Job[T]) time.Time { return time.Now() }

// riverConns is the size of River's pool: more connections than its fetches, its completer and its
// notifier use at once.
const riverConns = "&pool_max_conns=20"

// onRiver runs a measurement on River's tables in a new cluster.
func onRiver(measure func(client *river.Client[pgx.Tx], pool *pgxpool.Pool, db database) (figures, error), w workload) (figures, error) {
	return withCluster(func(db database) (figures, error) {
		ctx := context.Background()
		pool, err := pgxpool.New(ctx, db.dsn+riverConns)
		if err != nil {
			return nil, err
		}
		defer pool.Close()
		client, err := newRiver(ctx, riverpgxv5.New(pool), w)
		if err != nil {
			return nil, err
		}
		return measure(client, pool, db)
	})
}

func riverPostgres(w workload) func() (figures, error) {
	return func() (figures, error) {
		w := w.scaled()
		return onRiver(func(client *river.Client[pgx.Tx], _ *pgxpool.Pool, db database) (figures, error) {
			return riverWork(client, w, db)
		}, w)
	}
}

func riverSQLite(w workload) func() (figures, error) {
	return func() (figures, error) {
		return withFile(func(path string) (figures, error) {
			// One connection, as River's documentation recommends. As durable as ours.
			db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
			if err != nil {
				return nil, err
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			w := w.scaled()
			// River completes all its jobs in one transaction, with a limit of 10 s. Under the race detector
			// that is too short for a thousand jobs, and River would retry for ever.
			w.n /= min(load, 10)
			client, err := newRiver(context.Background(), riversqlite.New(db), w)
			if err != nil {
				return nil, err
			}
			return riverWork(client, w, database{})
		})
	}
}

// newRiver creates River's tables and a client. The intervals are the shortest that River admits:
// with few slots longer ones are slower. Other pool sizes, poll-only mode and a client that is not
// the leader made no difference beyond noise.
func newRiver[Tx any](ctx context.Context, driver riverdriver.Driver[Tx], w workload) (*river.Client[Tx], error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker[empty]{work: w.work})
	river.AddWorker(workers, &riverWorker[numbered]{work: w.work})
	return river.NewClient(driver, &river.Config{
		Logger: quiet, Workers: workers, JobTimeout: -1,
		FetchCooldown: river.FetchCooldownMin, FetchPollInterval: river.FetchPollIntervalMin,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: w.slots}},
	})
}

// riverWork processes a workload with River.
func riverWork[Tx any](client *river.Client[Tx], w workload, db database) (figures, error) {
	ctx := context.Background()
	found, err := clocked(db, w.n, func() error { return riverEnqueue(ctx, client, w) })
	if err != nil {
		return nil, err
	}
	enqueued := found[perSecond]
	// Events that do not fit into the channel would be dropped.
	completed, cancel := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: w.n,
		Kinds: []river.EventKind{river.EventKindJobCompleted}})
	defer cancel()
	found, err = clocked(db, w.n, func() error {
		if err := client.Start(ctx); err != nil {
			return err
		}
		return riverAwait(completed, w.n)
	})
	if err != nil {
		return nil, errors.Join(err, client.StopAndCancel(ctx))
	}
	found[enqueuedPerSecond] = enqueued
	return found, errors.Join(client.Stop(ctx), riverCheck(ctx, client, w))
}

// riverEnqueue inserts the jobs of a workload, unique ones in calls of a thousand.
func riverEnqueue[Tx any](ctx context.Context, client *river.Client[Tx], w workload) error {
	size := bulk
	if w.keyed {
		size = perCall
	}
	for made := 0; made < w.n; made += size {
		batch := riverBatch(w, made, min(size, w.n-made))
		if !w.keyed {
			if _, err := client.InsertManyFast(ctx, batch); err != nil {
				return err
			}
			continue
		}
		inserted, err := client.InsertMany(ctx, batch)
		if err != nil {
			return err
		}
		for _, i := range inserted {
			if i.UniqueSkippedAsDuplicate {
				return fmt.Errorf("job %d was not inserted", i.Job.ID)
			}
		}
	}
	return nil
}

func riverBatch(w workload, from, n int) []river.InsertManyParams {
	batch := make([]river.InsertManyParams, n)
	for i := range batch {
		if w.keyed {
			batch[i].Args = numbered{from + i}
		} else {
			batch[i].Args = empty{}
		}
	}
	return batch
}

// riverPatience is how long the benchmark waits without any job being completed. When a completion
// does not fit into River's own limit, River retries it without end.
const riverPatience = 30 * time.Second

// riverAwait waits until n jobs have been completed.
func riverAwait(completed <-chan *river.Event, n int) error {
	tick := time.NewTicker(riverPatience)
	defer tick.Stop()
	for ended, before := 0, 0; ended < n; {
		select {
		case <-completed:
			ended++
		case <-tick.C:
			if ended == before {
				return fmt.Errorf("%d of %d jobs ended, and none for %v", ended, n, riverPatience)
			}
			before = ended
		}
	}
	return nil
}

// riverCheck checks that no job is left, and that a sample of the completed jobs has what their
// handlers wrote.
func riverCheck[Tx any](ctx context.Context, client *river.Client[Tx], w workload) error {
	left, err := client.JobList(ctx, river.NewJobListParams().First(1).States(
		rivertype.JobStateAvailable, rivertype.JobStateRunning, rivertype.JobStateRetryable,
		rivertype.JobStateDiscarded, rivertype.JobStateCancelled))
	if err != nil {
		return err
	}
	if len(left.Jobs) > 0 {
		return fmt.Errorf("a job is %s, all should be completed", left.Jobs[0].State)
	}
	done, err := client.JobList(ctx, river.NewJobListParams().First(min(100, w.n)).States(rivertype.JobStateCompleted))
	if err == nil && len(done.Jobs) != min(100, w.n) {
		err = fmt.Errorf("%d jobs are completed, of %d", len(done.Jobs), w.n)
	}
	for i := 0; err == nil && i < len(done.Jobs); i++ {
		if err = w.checkJob(done.Jobs[i]); err != nil {
			err = fmt.Errorf("job %d: %w", done.Jobs[i].ID, err)
		}
	}
	return err
}
