package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// claims is how many claims of a hundred tasks are timed.
const claims = 300

func claimFew() (float64, error)  { return claimAmong(condition{queued: 40_000}) }
func claimMany() (float64, error) { return claimAmong(condition{queued: 5_000_000 / load}) }
func claimOld() (float64, error) {
	return claimAmong(condition{queued: 300_000/load + 40_000, taken: 300_000 / load})
}
func claimFuture() (float64, error) {
	return claimAmong(condition{queued: 40_000, future: 1_000_000 / load})
}
func claimForeign() (float64, error) {
	return claimAmong(condition{queued: 40_000, foreign: 1_000_000 / load})
}

// condition is what stands in the store before claims are timed.
type condition struct {
	queued  int // tasks of the kind that is claimed
	taken   int // of which have been claimed, while somebody's old snapshot is open
	future  int // tasks of the kind whose time has not come
	foreign int // tasks of a kind that is not claimed, of a higher priority
}

// claimAmong returns the 99th percentile of the times of claims of a hundred tasks each.
func claimAmong(c condition) (float64, error) {
	return withCluster(func(server *pgtest.Server) (p99 float64, err error) {
		ctx := context.Background()
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		db, err := pgx.Connect(ctx, server.DSN("postgres"))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, db.Close(ctx)) }()
		for _, f := range []struct {
			kind     string
			n        int
			priority int
			delay    string
		}{{"noop", c.queued, 0, "0"}, {"noop", c.future, 0, "1 hour"}, {"foreign", c.foreign, 5, "0"}} {
			if err := fill(ctx, store, db, f.kind, f.n, f.priority, f.delay); err != nil {
				return 0, err
			}
		}
		if _, err := store.Heartbeat(ctx, task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
			return 0, err
		}
		if c.taken > 0 {
			old, err := pgx.Connect(ctx, server.DSN("postgres"))
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, old.Close(ctx)) }()
			// The snapshot stays open until the end.
			if _, err := old.Exec(ctx, `begin isolation level repeatable read; select count(*) from lastcall.lanes`); err != nil {
				return 0, err
			}
			for n := 0; n < c.taken; n += 1000 {
				if _, err := claimOnce(ctx, store, 1000); err != nil {
					return 0, err
				}
			}
		}
		var all []float64
		for range claims / min(load, 10) {
			took, err := claimOnce(ctx, store, 100)
			if err != nil {
				return 0, err
			}
			all = append(all, took)
		}
		slices.Sort(all)
		return all[len(all)*99/100], nil
	})
}

// fill makes tasks as enqueuing would have left them, in a fraction of the time: their ids begin with
// the time, so that tasks that are claimed together stand together.
func fill(ctx context.Context, store task.Store, db *pgx.Conn, kind string, n, priority int, delay string) error {
	if n == 0 {
		return nil
	}
	// The first one makes the lane.
	if _, err := task.NewClient(store).Enqueue(ctx, kind, []byte("{}"), &task.Options{Priority: priority}); err != nil {
		return err
	}
	table := "ready"
	if delay != "0" {
		table = "delayed"
	}
	_, err := db.Exec(ctx, `
		with t as (
			insert into lastcall.tasks (id, lane, payload, priority, run_at)
			select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint + i / 100), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid,
				n, '{}', $2, now() + $4::interval from lastcall.lanes, generate_series(1, $3) i where kind = $1
			returning lane, priority, run_at, id
		)
		insert into lastcall.`+table+` (lane, suspect, rank, fresh, run_at, id) select lane, false, ~priority, true, run_at, id from t`, kind, priority, n, delay)
	for _, settle := range []string{`vacuum analyze lastcall.` + table, `checkpoint`} {
		if err == nil {
			_, err = db.Exec(ctx, settle)
		}
	}
	return err
}

// claimOnce claims so many tasks, and returns the milliseconds that it took.
func claimOnce(ctx context.Context, store task.Store, n int) (float64, error) {
	began := time.Now()
	got, err := store.Claim(ctx, task.ClaimRequest{Worker: "w", Max: n, Suspect: true, Kinds: []task.KindClaim{{Kind: "noop", Max: n}}})
	if err == nil && len(got) != n {
		err = fmt.Errorf("claimed %d tasks of %d", len(got), n)
	}
	return milliseconds(time.Since(began)), err
}
