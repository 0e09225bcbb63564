//go:build linux

package main

import (
	"context"
	"errors"
)

// Triggers copy what is pruned when it is deleted, whichever process deletes it, so that the
// inspection has the whole life of every task.

// keepPrunedOfPostgres creates the tables for the copies, and the triggers. Only rows that are
// deleted in the same transaction as their task are copies of its end. Runs that are trimmed, and
// ends that a retry undoes, are deleted in other transactions.
const keepPrunedOfPostgres = `
	create table chaos_pruned (tx bigint not null, at timestamptz not null, id uuid not null, created timestamptz not null,
		kind text not null, queue text not null, key text, payload bytea not null, meta jsonb);
	create table chaos_ended (tx bigint not null, task uuid not null, ended timestamptz not null, started timestamptz, run bigint, worker uuid,
		attempts integer, interruptions integer, crashes integer, crashed boolean, reclaimed boolean, status text not null, reason text, error text, result integer);
	create table chaos_runs (tx bigint not null, task uuid not null, run bigint not null, worker uuid not null, started timestamptz not null,
		ended timestamptz not null, crashed boolean, reclaimed boolean, status text not null, reason text, error text);
	create table chaos_workers (worker uuid not null, pid integer not null);

	create function chaos_keep_task() returns trigger language plpgsql set search_path from current as $$ begin
		insert into chaos_pruned values (txid_current(), clock_timestamp(), old.id, old.created, old.kind, old.queue, old.key, old.payload, old.meta);
		return null;
	end $$;
	create function chaos_keep_ended() returns trigger language plpgsql set search_path from current as $$ begin
		insert into chaos_ended values (txid_current(), old.task, old.ended, old.started, old.run, old.worker, old.attempts, old.interruptions, old.crashes,
			old.crashed, old.reclaimed, old.status, old.reason, old.error, length(old.result));
		return null;
	end $$;
	create function chaos_keep_run() returns trigger language plpgsql set search_path from current as $$ begin
		insert into chaos_runs values (txid_current(), old.task, old.run, old.worker, old.started, old.ended, old.crashed, old.reclaimed,
			old.status, old.reason, old.error);
		return null;
	end $$;
	create function chaos_keep_worker() returns trigger language plpgsql set search_path from current as $$ begin
		insert into chaos_workers values (old.worker, old.pid);
		return null;
	end $$;
	create trigger chaos_keep after delete on lastcall.tasks for each row execute function chaos_keep_task();
	create trigger chaos_keep after delete on lastcall.ended for each row execute function chaos_keep_ended();
	create trigger chaos_keep after delete on lastcall.runs for each row execute function chaos_keep_run();
	create trigger chaos_keep after delete on lastcall.workers for each row execute function chaos_keep_worker()`

// keepPrunedOfSQLiteFile does the same for a file. A task's number is reused when it is free, so
// the copies get the task's id when the task itself is deleted, which happens last.
const keepPrunedOfSQLiteFile = `
	create table chaos_pruned (id text not null, created integer not null, kind text not null, queue text not null, key text not null, payload blob not null, meta text, at integer not null);
	create table chaos_ended (id text, task integer not null, ended integer not null, status text not null, reason text not null, error text not null, run integer not null,
		pid integer not null, started integer not null, crashed integer not null, reclaimed integer not null,
		attempts integer not null, interruptions integer not null, crashes integer not null, result integer);
	create table chaos_runs (id text, task integer not null, run integer not null, pid integer not null, started integer not null, ended integer not null,
		status text not null, reason text not null, error text not null, crashed integer not null, reclaimed integer not null);
	create index chaos_ended_task on chaos_ended (task) where id is null;
	create index chaos_runs_task on chaos_runs (task) where id is null;
	create index chaos_ended_id on chaos_ended (id);
	create index chaos_runs_id on chaos_runs (id, run);

	create trigger chaos_keep_ended after delete on ended begin
		insert into chaos_ended values (null, old.task, old.ended, old.status, old.reason, old.error, old.run, old.pid, old.started, old.crashed, old.reclaimed,
			old.attempts, old.interruptions, old.crashes, length(old.result));
	end;
	create trigger chaos_keep_run after delete on runs begin
		insert into chaos_runs values (null, old.task, old.run, old.pid, old.started, old.ended, old.status, old.reason, old.error, old.crashed, old.reclaimed);
	end;
	create trigger chaos_keep_task after delete on tasks begin
		insert into chaos_pruned values (old.id, old.created, old.kind, old.queue, old.key, old.payload, old.meta, cast(unixepoch('subsec') * 1000000 as integer));
		update chaos_ended set id = old.id where task = old.n and id is null;
		update chaos_runs set id = old.id where task = old.n and id is null;
	end`

func keepPrunedOfSQLite(ctx context.Context, path string) (err error) {
	db, err := openSQLite(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, keepPrunedOfSQLiteFile)
	return err
}
