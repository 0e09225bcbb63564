package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// inspect is the command inspect.
func inspect(ctx context.Context, pool *pgxpool.Pool) error {
	state := history.State{Counts: make(map[string]int64), Residue: make(map[string]int64)}
	const tasks = `
		select id::text, kind, queue, case when args->>'Key' is null then '' else args->>'Key' end, (args->>'Seq')::int,
			case state when 'completed' then 'succeeded' when 'discarded' then 'failed' when 'cancelled' then 'cancelled' when 'running' then 'running' else 'queued' end,
			coalesce(errors[cardinality(errors)]->>'error', ''), attempt, coalesce((metadata->>'snoozes')::int, 0), coalesce((metadata->>'river:rescue_count')::int, 0),
			coalesce(length(metadata->>'output'), 0), coalesce(attempted_by, '{}'), coalesce(attempted_at, 'epoch'), coalesce(finalized_at, 'epoch')
		from river_job order by id`
	rows, err := pool.Query(ctx, tasks)
	if err != nil {
		return err
	}
	if state.Tasks, err = pgx.CollectRows(rows, scanTask); err != nil {
		return err
	}
	for _, t := range state.Tasks { // River keeps no counts of its own
		state.Counts[t.Status]++
	}
	if rows, err = pool.Query(ctx, `select seq, step, fence from chaos_effects order by seq, fence`); err != nil {
		return err
	}
	if state.TxSteps, err = pgx.CollectRows(rows, pgx.RowToStructByPos[history.TxStep]); err != nil {
		return err
	}
	var odd int64
	if err := pool.QueryRow(ctx, `select count(*) from chaos_enqueued where task not in (select id::text from river_job)`).Scan(&odd); err != nil {
		return err
	}
	if odd > 0 {
		state.Residue["chaos_enqueued"] = odd
	}
	const sessions = `select 'connection ' || application_name || ': ' || coalesce(query, '') from pg_stat_activity
		where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'chaos'`
	for deadline := time.Now().Add(3 * time.Second); ; { // a server notices the end of a connection in its own time
		if rows, err = pool.Query(ctx, sessions); err != nil {
			return err
		}
		if state.Left, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		if len(state.Left) == 0 || time.Now().After(deadline) || !pause(ctx, 20*time.Millisecond) {
			return json.NewEncoder(os.Stdout).Encode(state)
		}
	}
}

// scanTask reads a job. Of its runs River keeps which client had each of them; when the earlier
// ones began, and how they ended, it does not.
func scanTask(row pgx.CollectableRow) (t history.Task, err error) {
	var (
		by               []string
		started, settled time.Time
		fetched          int
	)
	err = row.Scan(&t.ID, &t.Kind, &t.Queue, &t.Key, &t.Seq, &t.Status, &t.Error, &fetched, &t.Interruptions, &t.Crashes, &t.Result, &by, &started, &settled)
	for i, client := range by {
		r := history.Run{Status: "unknown"}
		_, pid, _ := strings.Cut(client, "@")
		r.PID, _ = strconv.Atoi(pid)
		if i == len(by)-1 {
			r.Run, r.Started, r.Status, r.Error = started.UnixMicro(), started, t.Status, t.Error
			if t.Status == "succeeded" || t.Status == "failed" || t.Status == "cancelled" {
				r.Ended = settled
			}
		}
		t.Runs = append(t.Runs, r)
	}
	if t.Status == "succeeded" { // its last run failed nobody
		fetched--
		t.Error = ""
	}
	t.Attempts = max(fetched-t.Crashes, 0)
	if err != nil {
		err = fmt.Errorf("job %s: %w", t.ID, err)
	}
	return t, err
}
