package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// tableSize selects the size of the store's tables, and how many dead rows they have.
const tableSize = `select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint, coalesce(sum(n_dead_tup), 0)::bigint
	from pg_stat_user_tables where schemaname = 'lastcall'`

// bloat enqueues, processes and prunes a million tasks in five rounds. It compares the size of the
// tables after the last round with the larger of the sizes after the first two: a round may end
// just before or just after a vacuum. The million takes about a minute, which is the server's own
// interval between vacuums, so autovacuum runs twelve times as often here.
func bloat() (figures, error) {
	return withCluster(func(db database) (found figures, err error) {
		ctx := context.Background()
		c, err := pgx.Connect(ctx, db.dsn)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.Close(ctx)) }()
		var first, last, dead int64
		for round := range 5 {
			if err := bloatRound(db); err != nil {
				return nil, err
			}
			if err := c.QueryRow(ctx, tableSize).Scan(&last, &dead); err != nil {
				return nil, err
			}
			if round < 2 {
				first = max(first, last)
			}
			fmt.Fprintf(os.Stderr, "    after %d tasks: %d MiB, %d dead rows\n", (round+1)*200_000/load, last>>20, dead)
		}
		return figures{"first MiB": float64(first) / (1 << 20), "last MiB": float64(last) / (1 << 20)}, nil
	}, "autovacuum_naptime=5s")
}

// bloatRound processes 200,000 tasks and prunes them.
func bloatRound(db database) error {
	store, err := openPostgres(db)
	if err != nil {
		return err
	}
	w := nothings(200_000, slots).scaled()
	if _, err := work(store, w, db); err != nil {
		return errors.Join(err, store.Close())
	}
	removed, err := prune(store, task.PruneRequest{Max: 1000}, nil)
	if err == nil && removed != w.n {
		err = fmt.Errorf("%d tasks pruned", removed)
	}
	return errors.Join(err, store.Close())
}

// prune removes old tasks page by page, and times the pages.
func prune(store task.Store, req task.PruneRequest, pages *times) (removed int, err error) {
	for {
		began := time.Now()
		done, err := store.Prune(context.Background(), req)
		if err != nil {
			return removed, err
		}
		if removed += done.Tasks; pages != nil && done.Tasks > 0 {
			pages.add(time.Since(began))
		}
		if req.After = done.Next; done.Next == "" {
			return removed, nil
		}
	}
}

// claimsSQLite claims and ends 100,000 tasks, a hundred at a time, while the write-ahead log is
// checkpointed into the database now and then.
func claimsSQLite() (figures, error) {
	return onSQLite(func(store task.Store, _ database) (figures, error) {
		ctx := context.Background()
		w := nothings(100_000, slots).scaled()
		if err := w.enqueue(store); err != nil {
			return nil, err
		}
		if _, err := store.Heartbeat(ctx, task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
			return nil, err
		}
		var all []float64
		for range w.n / 100 {
			took, err := claimOnce(store, 100)
			if err != nil {
				return nil, err
			}
			all = append(all, took)
			running, err := store.Find(ctx, task.Query{Status: task.StatusRunning, Limit: 100})
			if err != nil {
				return nil, err
			}
			changes := make([]task.Change, len(running))
			for i, t := range running {
				changes[i] = task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: task.StatusSucceeded}
			}
			if err := errors.Join(store.Apply(ctx, changes)...); err != nil {
				return nil, err
			}
		}
		return figures{p99: quantile(all, 0.99), "longest ms": quantile(all, 1)}, nil
	})
}
