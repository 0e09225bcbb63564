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
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// inspect is the command "inspect".
func inspect(ctx context.Context, pool *pgxpool.Pool) error {
	state := history.State{Counts: make(map[string]int64), Residue: make(map[string]int64)}
	// The queue is the one that the plan asked for: the driver maps several of them to one of River's.
	const tasks = `
		select coalesce(nullif(args->>'ID', ''), id::text), coalesce(args->>'Kind', kind), coalesce(nullif(args->>'Queue', ''), 'default'), coalesce(args->>'Key', ''), (args->>'Seq')::int,
			case state when 'completed' then 'succeeded' when 'discarded' then 'failed' when 'cancelled' then 'cancelled' when 'running' then 'running' else 'queued' end,
			coalesce(length((metadata->'output')::text), 0), coalesce(attempted_by, '{}'), coalesce(attempted_at, 'epoch'), coalesce(finalized_at, 'epoch'),
			array(select e->>'error' from unnest(errors) with ordinality as u (e, n) order by n), array(select (e->>'attempt')::int from unnest(errors) with ordinality as u (e, n) order by n)
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
	if err := pool.QueryRow(ctx, `select count(*) from chaos_enqueued where not exists (select 1 from river_job where (args->>'Seq')::int = seq)`).Scan(&odd); err != nil {
		return err
	}
	if odd > 0 {
		state.Residue["chaos_enqueued"] = odd
	}
	const sessions = `select 'connection ' || application_name || ': ' || coalesce(query, '') from pg_stat_activity
		where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'chaos'`
	// A server notices the end of a connection with a delay.
	for deadline := time.Now().Add(3 * time.Second); ; {
		if rows, err = pool.Query(ctx, sessions); err != nil {
			return err
		}
		if state.Left, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		if len(state.Left) == 0 || time.Now().After(deadline) || !wire.Pause(ctx, 20*time.Millisecond) {
			return json.NewEncoder(os.Stdout).Encode(state)
		}
	}
}

// scanTask reads a job.
func scanTask(row pgx.CollectableRow) (t history.Task, err error) {
	var k kept
	err = row.Scan(&t.ID, &t.Kind, &t.Queue, &t.Key, &t.Seq, &t.Status, &t.Result, &k.by, &k.started, &k.settled,
		&k.errors, &k.attempts)
	if err != nil {
		return t, fmt.Errorf("job %s: %w", t.ID, err)
	}
	k.tell(&t)
	return t, nil
}

// kept is what River keeps of the runs of a job: which client had each of them, when the last one
// began, and an error, with its attempt, for each run that failed or was rescued. A rescue counts
// as an attempt. A run without an error that was not the last was snoozed at a stop.
type kept struct {
	by               []string
	started, settled time.Time
	errors           []string
	attempts         []int
}

// tell returns the runs of a task. River does not know when the earlier ones began and ended. After
// a stop it uses the number of an attempt again, so it is a guess which of the runs with the same
// number has failed.
func (k *kept) tell(t *history.Task) {
	attempt := 0
	for i, client := range k.by {
		_, pid, _ := strings.Cut(client, "@")
		r := history.Run{Run: int64(i + 1), Status: "interrupted", Reason: "stop"}
		r.PID, _ = strconv.Atoi(pid) // the driver has chosen the name
		if t.Attempts < len(k.errors) && k.attempts[t.Attempts] == attempt+1 {
			r.Status, r.Reason, r.Error = "queued", "", k.errors[t.Attempts]
			attempt, t.Attempts = attempt+1, t.Attempts+1
		}
		if i == len(k.by)-1 {
			r.Started = k.started
			if t.Status != "queued" {
				r.Status, r.Reason, r.Ended, t.Error = t.Status, "", k.settled, r.Error
			}
		}
		if r.Status == "interrupted" {
			t.Interruptions++
		}
		t.Runs = append(t.Runs, r)
	}
}
