// Command riverchaos is the driver of River for the chaos harness (test/chaos). It has the commands
// setup, worker, client and inspect, for River on PostgreSQL. Settings are those that River's
// documentation recommends. Where a setting was chosen for the harness, a comment gives the reason.
//
// River has no fencing tokens, no request to hand over a running job, no logs and no progress.
// Where a plan or a call asks for these, the driver leaves them out or refuses the call.
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

// withPool runs a command with a pool of connections to the store.
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

// setUp creates River's tables, and the driver's own, which are like those of Lastcall's driver.
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

// job is a plan in the form of a job's arguments.
type job struct {
	history.Plan
	// Unique is the key of a plan that has one. For all others it is the number of the plan, so that
	// an insert whose answer was lost can be repeated.
	Unique string `json:"unique" river:"unique"`
}

// Kind names the job for River.
func (job) Kind() string { return history.KindSteps }

// nameOf returns the id of a job in the history. River chooses ids itself, so an id that the plan
// asked for is only a name.
func nameOf(j job, id int64) string { return cmp.Or(j.ID, fmt.Sprint(id)) }

// unfinished are the states of a job that has not ended: those in which it holds its key.
var unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable,
	rivertype.JobStateScheduled,
}

var everyState = append([]rivertype.JobState{rivertype.JobStateCompleted, rivertype.JobStateCancelled,
	rivertype.JobStateDiscarded}, unfinished...)

// queues are those that workers serve. River polls for each of them, so there are only a few; the
// plans of all other queues go to the first.
var queues = []string{river.QueueDefault, "shared-0", "shared-1", "shared-2", "shared-3"}

// newClient creates a client of River. It processes jobs if it has a handler.
func newClient(pool *pgxpool.Pool, handler *worker) (*river.Client[pgx.Tx], error) {
	config := &river.Config{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		// Nothing is pruned, so that every job can be inspected when the run is over.
		CancelledJobRetentionPeriod: -1, CompletedJobRetentionPeriod: -1, DiscardedJobRetentionPeriod: -1,
		// The longest plan takes some ten seconds. A job is rescued when it has been running for longer
		// than any job may. The rescuer runs every 30 s, which cannot be set.
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

// grace returns how long a worker has to end after SIGTERM.
func grace() (time.Duration, error) {
	return time.ParseDuration(cmp.Or(os.Getenv(wire.EnvGrace), "10s"))
}
