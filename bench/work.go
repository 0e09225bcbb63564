package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/pgstore"
	"github.com/lastcall-go/lastcall/sqlitestore"
	"github.com/lastcall-go/lastcall/task"
)

// slots is how many tasks a worker of the throughput measures may run at once, of either library.
const slots = 2000

// crowd is a number of tasks and how they are worked.
type crowd struct {
	n      int
	atOnce int
	each   time.Duration // for which a handler sleeps
}

// nothings do nothing.
func nothings(n int) crowd { return crowd{n: n, atOnce: slots} }

// shortOnes are worked by a worker with the default concurrency.
func shortOnes() crowd { return crowd{n: 20_000 / load, atOnce: 10, each: 2 * time.Millisecond} }

func (c crowd) handle() {
	if c.each > 0 {
		time.Sleep(c.each)
	}
}

// empty is the payload of tasks that do nothing.
type empty struct{}

// Kind names the job for River.
func (empty) Kind() string { return "noop" }

var noop = task.Kind[empty]{Name: "noop"}

func workPostgres() (float64, error)  { return workOnPostgres(nothings(200_000 / load)) }
func shortPostgres() (float64, error) { return workOnPostgres(shortOnes()) }

func workOnPostgres(c crowd) (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		return work(store, c, server.PID())
	})
}

func openPostgres(server *pgtest.Server) (*pgstore.Store, error) {
	return pgstore.Open(context.Background(), pgstore.Config{DSN: server.DSN("postgres"), Migrate: true, Logger: quiet})
}

func workSQLite() (float64, error) {
	return withFile(func(path string) (float64, error) {
		store, err := sqlitestore.Open(context.Background(), sqlitestore.Config{Path: path, Logger: quiet})
		if err != nil {
			return 0, err
		}
		return work(store, nothings(100_000/load), 0)
	})
}

// work enqueues tasks, and measures from the start of a worker until the end of
// the last one is recorded. It returns tasks a second.
func work(store task.Store, c crowd, server int) (float64, error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if _, err := enqueue(ctx, store, c.n); err != nil {
		return 0, err
	}
	var mux task.Mux
	task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { c.handle(); return nil })
	var ended atomic.Int64
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: c.atOnce, Logger: quiet, Observe: func(e task.Event) {
		if e.Status == task.Succeeded && ended.Add(1) == int64(c.n) {
			stop()
		}
	}})
	if err != nil {
		return 0, err
	}
	took, err := clocked(server, c.n, func() error { return w.Serve(ctx) })
	if err != nil {
		return 0, err
	}
	if got := int(ended.Load()); got != c.n {
		return 0, fmt.Errorf("%d of %d tasks ended", got, c.n)
	}
	return float64(c.n) / took.Seconds(), store.Close()
}

// clocked runs f, and prints what it cost of the processors for each of n.
func clocked(server, n int, f func() error) (time.Duration, error) {
	self, others, err := processorTime(server)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	selfNow, othersNow, err := processorTime(server)
	if err != nil {
		return 0, err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	fmt.Fprintf(os.Stderr, "    %.1f s; processor time for each: %.1f us, and %.1f us of the server\n", took.Seconds(), each(selfNow-self), each(othersNow-others))
	return took, nil
}

func enqueue(ctx context.Context, store task.Store, n int) ([]string, error) {
	return enqueueOf(ctx, store, noop, n)
}

// enqueueOf makes n tasks of a kind in calls of 1,000.
func enqueueOf(ctx context.Context, store task.Store, kind task.Kind[empty], n int) ([]string, error) {
	client := task.NewClient(store)
	ids := make([]string, 0, n)
	for len(ids) < n {
		batch := make([]task.NewTask, min(1000, n-len(ids)))
		for i := range batch {
			var err error
			if batch[i], err = kind.Task(empty{}, nil); err != nil {
				return nil, err
			}
		}
		made, err := client.EnqueueMany(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, m := range made {
			ids = append(ids, m.ID)
		}
	}
	return ids, nil
}

// riverNoop is the handler of River.
type riverNoop struct {
	river.WorkerDefaults[empty]
	crowd crowd
	ran   *atomic.Int64
}

func (w *riverNoop) Work(context.Context, *river.Job[empty]) error {
	w.crowd.handle()
	w.ran.Add(1)
	return nil
}

func riverWorkPostgres() (float64, error)  { return riverOnPostgres(nothings(200_000 / load)) }
func riverShortPostgres() (float64, error) { return riverOnPostgres(shortOnes()) }

func riverOnPostgres(c crowd) (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		pool, err := pgxpool.New(context.Background(), server.DSN("postgres")+"&pool_max_conns=20")
		if err != nil {
			return 0, err
		}
		defer pool.Close()
		return riverWork(riverpgxv5.New(pool), c, server.PID())
	})
}

func riverWorkSQLite() (float64, error) {
	return withFile(func(path string) (float64, error) {
		// One connection, as River's documentation asks; as durable as ours.
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		if err != nil {
			return 0, err
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		// It completes all that it has in one transaction, for which it gives itself 10 s: under the race detector too little
		// for a thousand jobs, which it would try again for ever.
		return riverWork(riversqlite.New(db), nothings(100_000/load/min(load, 10)), 0)
	})
}

// riverWork is work for River.
func riverWork[Tx any](driver riverdriver.Driver[Tx], c crowd, server int) (float64, error) {
	ctx, n := context.Background(), c.n
	var ran atomic.Int64
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverNoop{crowd: c, ran: &ran})
	client, err := newRiver(ctx, driver, workers, c.atOnce)
	if err != nil {
		return 0, err
	}
	for made := 0; made < n; made += 5000 {
		batch := make([]river.InsertManyParams, min(5000, n-made))
		for i := range batch {
			batch[i].Args = empty{}
		}
		if _, err := client.InsertManyFast(ctx, batch); err != nil {
			return 0, err
		}
	}
	// What does not fit into the channel would be dropped.
	completed, cancel := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: n, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	defer cancel()
	took, err := clocked(server, n, func() error {
		if err := client.Start(ctx); err != nil {
			return err
		}
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
	})
	if err != nil {
		return 0, errors.Join(err, client.StopAndCancel(ctx))
	}
	return float64(n) / took.Seconds(), client.Stop(ctx)
}

// riverPatience is for how long nothing may end: what River cannot complete in the time that it gives itself it tries again, without end.
const riverPatience = 30 * time.Second

// newRiver makes River's tables and a client with the settings of its own benchmark.
func newRiver[Tx any](ctx context.Context, driver riverdriver.Driver[Tx], workers *river.Workers, atOnce int) (*river.Client[Tx], error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	return river.NewClient(driver, &river.Config{
		Logger: quiet, Workers: workers, JobTimeout: -1,
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 5 * time.Millisecond,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: atOnce}},
	})
}
