// Command riverchaos is the driver of River for the chaos harness (test/chaos): the commands setup,
// worker, client and inspect, for River on PostgreSQL. Settings are those that River's
// documentation recommends, and where one was chosen for the harness, a comment says why.
//
// River has no fencing tokens, no request to hand over a running job, no logs and no progress: what
// a plan or a call asks of these is left out or refused.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

func main() {
	commands := map[string]func(context.Context, *pgxpool.Pool) error{"setup": setUp, "worker": work, "client": answerCalls, "inspect": inspect}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: riverchaos setup|worker|client|inspect")
		os.Exit(2)
	}
	if err := withPool(commands[os.Args[1]]); err != nil {
		fmt.Fprintln(os.Stderr, "riverchaos:", err)
		os.Exit(1)
	}
}

// withPool does a command with a pool of connections to the store.
func withPool(command func(context.Context, *pgxpool.Pool) error) error {
	address := os.Getenv(wire.EnvStore)
	if strings.HasPrefix(address, "sqlite:") {
		return errors.New("this driver knows River on PostgreSQL alone: use -store postgres")
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return err
	}
	config.MaxConns = 20 // more than River's fetches, its completer and the handlers use at once
	ctx := context.Background()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	return command(ctx, pool)
}

// setUp creates River's tables, and those of the driver, which are like those of Lastcall's.
func setUp(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `
		create table if not exists chaos_effects (seq integer not null, step integer not null, fence bigint not null);
		create index if not exists chaos_effects_seq on chaos_effects (seq, fence);
		create table if not exists chaos_enqueued (seq integer not null, task text not null)`)
	return err
}

// job is a plan as the arguments of a job.
type job struct {
	history.Plan
	// Unique is the key of a plan that has one. Of all others it is the number of the plan, so that
	// an insert whose answer was lost can be made again.
	Unique string `json:"unique" river:"unique"`
}

// Kind names the job for River.
func (job) Kind() string { return history.KindSteps }

// nameOf is what a job is called in the history: River chooses ids itself, so one that was asked
// for is a name.
func nameOf(j job, id int64) string { return cmp.Or(j.ID, fmt.Sprint(id)) }

// unfinished are the states of a job that has not ended: those in which it holds its key.
var unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable,
	rivertype.JobStateScheduled,
}

var everyState = append([]rivertype.JobState{rivertype.JobStateCompleted, rivertype.JobStateCancelled,
	rivertype.JobStateDiscarded}, unfinished...)

// queues are those that workers serve. River polls for each of them, so it has a few, and the plans
// of all others go to the first.
var queues = []string{river.QueueDefault, "shared-0", "shared-1", "shared-2", "shared-3"}

// newClient makes a client of River, which works if it has a handler.
func newClient(pool *pgxpool.Pool, handler *worker) (*river.Client[pgx.Tx], error) {
	config := &river.Config{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		// Nothing is removed, so that every job can be looked at when the run is over.
		CancelledJobRetentionPeriod: -1, CompletedJobRetentionPeriod: -1, DiscardedJobRetentionPeriod: -1,
		// The longest plan takes some ten seconds. A job is rescued when it has been running for
		// longer than any may; the rescuer looks every 30 s, which cannot be set.
		JobTimeout: 15 * time.Second, RescueStuckJobsAfter: 20 * time.Second,
	}
	if handler != nil {
		config.ID = fmt.Sprintf("%s@%d", handler.conn.Name(), os.Getpid())
		config.SoftStopTimeout = handler.softStop
		config.Workers = river.NewWorkers()
		river.AddWorker(config.Workers, handler)
		config.Queues = make(map[string]river.QueueConfig)
		for _, q := range queues {
			config.Queues[q] = river.QueueConfig{MaxWorkers: 16}
		}
	}
	return river.NewClient(riverpgxv5.New(pool), config)
}

// grace is how long after SIGTERM a worker has ended.
func grace() (time.Duration, error) {
	return time.ParseDuration(cmp.Or(os.Getenv(wire.EnvGrace), "10s"))
}
