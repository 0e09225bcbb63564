package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/sqlitestore"
	"github.com/lastcall-go/lastcall/task"
)

// bloat enqueues, works and prunes a million tasks in five rounds, and returns how much larger the
// tables are after the last round than after one of the first two: a round may end just before or just after the server
// has cleaned up. The million takes a minute or so, which is the
// server's own rhythm of cleaning up: it looks twelve times as often here.
func bloat() (float64, error) {
	return withCluster(func(server *pgtest.Server) (growth float64, err error) {
		ctx := context.Background()
		db, err := pgx.Connect(ctx, server.DSN("postgres"))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, db.Close(ctx)) }()
		var first, last int64
		for round := range 5 {
			if err := bloatRound(ctx, server); err != nil {
				return 0, err
			}
			var dead int64
			err := db.QueryRow(ctx, `select sum(pg_total_relation_size(relid))::bigint, sum(n_dead_tup)::bigint from pg_stat_user_tables where schemaname = 'lastcall'`).Scan(&last, &dead)
			if err != nil {
				return 0, err
			}
			if round < 2 {
				first = max(first, last)
			}
			fmt.Fprintf(os.Stderr, "    after %d tasks: %d MiB, %d dead rows\n", (round+1)*200_000/load, last>>20, dead)
		}
		return float64(last) / float64(first), nil
	}, "autovacuum_naptime=5s")
}

// bloatRound works 200,000 tasks and prunes them.
func bloatRound(ctx context.Context, server *pgtest.Server) error {
	store, err := openPostgres(server)
	if err != nil {
		return err
	}
	if _, err := work(store, nothings(200_000/load), server.PID()); err != nil { // closes the store
		return err
	}
	if store, err = openPostgres(server); err != nil {
		return err
	}
	removed := 0
	for req := (task.PruneRequest{Max: 1000}); ; {
		done, err := store.Prune(ctx, req)
		if err != nil {
			return err
		}
		removed += done.Tasks
		if req.After = done.Next; done.Next == "" {
			break
		}
	}
	if removed != 200_000/load {
		return fmt.Errorf("%d tasks pruned", removed)
	}
	return store.Close()
}

func sqliteClaimTail() (float64, error)    { return sqliteClaims(0.99) }
func sqliteClaimLongest() (float64, error) { return sqliteClaims(1) }

// sqliteClaims claims and ends 100,000 tasks, a hundred at a time, while the log is brought into the
// database now and then, and returns a quantile of the times of the claims.
func sqliteClaims(quantile float64) (float64, error) {
	return withFile(func(path string) (float64, error) {
		ctx := context.Background()
		store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: path, Logger: quiet})
		if err != nil {
			return 0, err
		}
		n := 100_000 / load
		if _, err := enqueue(ctx, store, n); err != nil {
			return 0, err
		}
		if _, err := store.Heartbeat(ctx, task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
			return 0, err
		}
		var all []float64
		for range n / 100 {
			took, err := claimOnce(ctx, store, 100)
			if err != nil {
				return 0, err
			}
			all = append(all, took)
			running, err := store.Find(ctx, task.Query{Status: task.Running, Limit: 100})
			if err != nil {
				return 0, err
			}
			changes := make([]task.Change, len(running))
			for i, t := range running {
				changes[i] = task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: task.Succeeded}
			}
			if err := errors.Join(store.Apply(ctx, changes)...); err != nil {
				return 0, err
			}
		}
		slices.Sort(all)
		return all[int(float64(len(all)-1)*quantile)], store.Close()
	})
}
