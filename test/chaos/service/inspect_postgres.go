//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// postgresReading reads the tables that task/pgstore/README.md describes. A task that is in two of
// them is returned twice, and one in none of them has no status. Pruned tasks come from the copies
// that pruned.go makes.
var postgresReading = reading{
	tasks: `
		select t.id::text, t.kind, t.queue, coalesce(t.key, ''), coalesce(s.status, ''), coalesce(s.reason, ''), coalesce(s.error, ''),
			coalesce(s.attempts, 0), coalesce(s.interruptions, 0), coalesce(s.crashes, 0), coalesce(s.result, 0), t.payload,
			coalesce(t.meta::text, ''), (extract(epoch from t.created) * 1000000)::bigint, coalesce((extract(epoch from s.ended) * 1000000)::bigint, 0), coalesce((extract(epoch from t.pruned) * 1000000)::bigint, 0)
		from (
			select id, created, kind, queue, key, payload, meta, null::timestamptz as pruned, null::bigint as tx from lastcall.tasks
			union all
			select id, created, kind, queue, key, payload, meta, at, tx from chaos_pruned
		) t left join (
			select null::bigint as tx, w.id, w.status, w.reason, r.error, w.attempts, w.interruptions, w.crashes, 0 as result, null::timestamptz as ended
			from (select * from lastcall.ready union all select * from lastcall.delayed) w left join lastcall.runs r on r.task = w.id and r.run = w.last_run
			union all
			select null, task, 'running', reason, null, attempts, interruptions, crashes, 0, null from lastcall.running
			union all
			select null, task, status, reason, error, attempts, interruptions, crashes, length(result), ended from lastcall.ended
			union all
			select tx, task, status, reason, error, attempts, interruptions, crashes, result, ended from chaos_ended
		) s on s.id = t.id and s.tx is not distinct from t.tx
		order by t.created, t.id`,
	runs: `
		select r.task::text, r.run, coalesce(w.pid, 0), (extract(epoch from r.started) * 1000000)::bigint, coalesce((extract(epoch from r.ended) * 1000000)::bigint, 0),
			r.status, coalesce(r.reason, ''), coalesce(r.error, ''), coalesce(r.crashed, false), coalesce(r.reclaimed, false)
		from (
			select task, run, worker, started, ended, status, reason, error, crashed, reclaimed from lastcall.runs
			union all
			select r.task, run, worker, started, ended, status, reason, error, crashed, reclaimed
			from chaos_pruned p join chaos_runs r on r.task = p.id and r.tx = p.tx
			union all
			select e.task, run, worker, started, ended, status, null, error, crashed, reclaimed
			from chaos_pruned p join chaos_ended e on e.task = p.id and e.tx = p.tx where started is not null
			union all
			-- The last run, if there is one: of a task that was cancelled while it waited it is above.
			select task, run, worker, started, ended, status, null, error, crashed, reclaimed from lastcall.ended where started is not null
			union all
			select task, run, worker, started, null, 'running', null, null, false, false from lastcall.running
		) r left join (
			select worker, max(pid) as pid from (select worker, pid from lastcall.workers union all select worker, pid from chaos_workers) all_workers group by worker
		) w on w.worker = r.worker
		order by r.task, r.run`,
	counts: `
		select status, sum(delta)::bigint from lastcall.counts where status <> 'added' group by status
		union all
		select 'running', count(*) from lastcall.running
		union all
		select 'queued', coalesce((select sum(case status when 'added' then delta else -delta end) from lastcall.counts), 0)::bigint
			- (select count(*) from lastcall.running)`,
	residue: map[string]string{
		"tasks": `
			select count(*) from (
				select id from (
					select id, created, 0 as n from lastcall.tasks
					union all select id, created, 1 from lastcall.ready
					union all select id, created, 1 from lastcall.delayed
					union all select task, created, 1 from lastcall.running
					union all select task, created, 1 from lastcall.ended
				) places group by id having sum(n) <> 1 or count(*) <> 2 or min(created) <> max(created)
			) odd`,
		// A key without an unfinished task, and an unfinished task whose key is missing.
		"keys": `
			select count(*) from lastcall.keys k full join (
				select t.id, t.kind, t.key from lastcall.tasks t where t.key is not null and t.id not in (select task from lastcall.ended)
			) u on u.id = k.task and u.kind = k.kind and u.key = k.key
			where k.task is null or u.id is null`,
		"running":     `select count(*) from lastcall.running where worker not in (select worker from lastcall.workers where gone is null)`,
		"runs":        `select count(*) from lastcall.runs where task not in (select id from lastcall.tasks)`,
		"checkpoints": `select count(*) from lastcall.checkpoints where task not in (select id from lastcall.tasks)`,
		"logs":        `select count(*) from lastcall.logs where task not in (select id from lastcall.tasks)`,
		"commands":    `select count(*) from lastcall.commands where task not in (select id from lastcall.tasks)`,
		// A count that differs from the number of rows.
		"counts": `
			select count(*) from (
				select kind, queue, status from (
					select kind, queue, status, delta from lastcall.counts
					union all select kind, queue, 'added', -1 from lastcall.tasks
					union all select kind, queue, status, -1 from lastcall.ended
					union all select kind, queue, 'interrupted', -1 from lastcall.ready where not queued
					union all select kind, queue, 'interrupted', -1 from lastcall.delayed where not queued
				) n group by kind, queue, status having sum(delta) <> 0
			) odd`,
		// No worker is alive any more. Those that have gone are kept for the history, and marked as gone.
		"workers": `select count(*) from lastcall.workers where gone is null`,
		// Entries of tasks that were enqueued in a transaction. The transaction was committed, but the
		// task is missing.
		"chaos_enqueued": `select count(*) from chaos_enqueued 
			where task not in (select id::text from lastcall.tasks union all select id::text from chaos_pruned)`,
	},
}

// readPostgres inspects a database.
func readPostgres(ctx context.Context, address string) (state history.State, err error) {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return state, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // it looks for the connections of others
	i := &inspector{db: db}
	if err := i.read(ctx, postgresReading); err != nil {
		return state, err
	}
	err = i.each(ctx, `select seq, step, fence from chaos_effects order by seq, fence`, func(rows *sql.Rows) error {
		var s history.TxStep
		err := rows.Scan(&s.Seq, &s.Step, &s.Fence)
		i.state.TxSteps = append(i.state.TxSteps, s)
		return err
	})
	if err == nil {
		err = i.lookForSessions(ctx)
	}
	return i.state, err
}

// lookForSessions looks for what sessions have left in the server, and for sessions of the service.
// The harness's own sessions have the name "chaos". A server notices the end of a connection with a
// delay.
func (i *inspector) lookForSessions(ctx context.Context) error {
	const look = `
		select 'connection ' || application_name || ' ' || coalesce(state, '') || ': ' || coalesce(query, '') from pg_stat_activity
		where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'chaos'
		union all
		select 'advisory lock of process ' || pid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
		union all
		select 'prepared transaction ' || gid from pg_prepared_xacts where database = current_database()`
	for deadline := time.Now().Add(3 * time.Second); ; {
		i.state.Left = nil
		err := i.each(ctx, look, func(rows *sql.Rows) error {
			var what string
			err := rows.Scan(&what)
			i.leave("%s", what)
			return err
		})
		if err != nil || i.state.Left == nil || time.Now().After(deadline) || !wire.Pause(ctx, 20*time.Millisecond) {
			return err
		}
	}
}
