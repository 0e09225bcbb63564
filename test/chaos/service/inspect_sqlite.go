//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// sqliteReading reads the tables that task/sqlitestore/README.md describes. A task that is in two
// of them is returned twice, and one in none of them has no status. Pruned tasks come from the
// copies that pruned.go makes.
var sqliteReading = reading{
	tasks: `
		select t.id, t.kind, t.queue, t.key, coalesce(s.status, ''), coalesce(s.reason, ''), coalesce(s.error, ''),
			coalesce(s.attempts, 0), coalesce(s.interruptions, 0), coalesce(s.crashes, 0), coalesce(s.result, 0), t.payload, coalesce(t.meta, ''), t.created, coalesce(s.ended, 0), 0
		from tasks t left join (
			select task, case interrupted when 1 then 'interrupted' else 'queued' end as status, reason, error, attempts, interruptions, crashes, 0 as result, 0 as ended
			from waiting
			union all
			select task, 'running', reason, error, attempts, interruptions, crashes, 0, 0 from running
			union all
			select task, status, reason, error, attempts, interruptions, crashes, length(result), ended from ended
		) s on s.task = t.n
		union all
		select p.id, p.kind, p.queue, p.key, coalesce(e.status, ''), coalesce(e.reason, ''), coalesce(e.error, ''),
			coalesce(e.attempts, 0), coalesce(e.interruptions, 0), coalesce(e.crashes, 0), coalesce(e.result, 0), p.payload, coalesce(p.meta, ''), p.created, coalesce(e.ended, 0), p.at
		from chaos_pruned p left join chaos_ended e on e.rowid = (select max(rowid) from chaos_ended where id = p.id)`,
	runs: `
		select id, run, pid, started, ended, status, reason, error, crashed, reclaimed from chaos_runs where id is not null
		union all
		-- An end that a retry has undone is in both tables too.
		select id, run, pid, started, ended, status, reason, error, crashed, reclaimed from chaos_ended e
		where rowid in (select max(rowid) from chaos_ended where id is not null group by id)
			and run > 0 and not exists (select 1 from chaos_runs r where r.id = e.id and r.run = e.run)
		union all
		select t.id, r.run, r.pid, r.started, r.ended, r.status, r.reason, r.error, r.crashed, r.reclaimed from tasks t join (
			select task, run, pid, started, ended, status, reason, error, crashed, reclaimed from runs
			union all
			-- The last run. A task that was cancelled while it waited has its last run in both tables.
			select task, run, pid, started, ended, status, reason, error, crashed, reclaimed from ended e
			where run > 0 and not exists (select 1 from runs r where r.task = e.task and r.run = e.run)
			union all
			select task, run, pid, started, 0, 'running', '', '', 0, 0 from running
		) r on r.task = t.n
		order by 1, 2`,
	counts: `
		select status, sum(n) from counts group by status
		union all
		select case interrupted when 1 then 'interrupted' else 'queued' end, count(*) from waiting group by interrupted
		union all
		select 'running', count(*) from running`,
	residue: map[string]string{
		"tasks": `
			select count(*) from tasks t where 1 <> (select count(*) from waiting w where w.task = t.n)
				+ (select count(*) from running r where r.task = t.n) + (select count(*) from ended e where e.task = t.n)`,
		"waiting": `
			select count(*) from waiting w where not exists (select 1 from tasks t where t.n = w.task and t.id = w.id and t.kind = w.kind and t.queue = w.queue)`,
		"running": `
			select count(*) from running r where r.task not in (select n from tasks) or r.worker not in (select id from workers)`,
		"ended": `select count(*) from ended where task not in (select n from tasks)`,
		// A key without an unfinished task, and an unfinished task whose key is missing.
		"keys": `
			select (select count(*) from keys k where not exists (select 1 from tasks t where t.n = k.task and t.kind = k.kind and t.key = k.key)
					or k.task not in (select task from waiting union all select task from running))
				+ (select count(*) from tasks t where t.key <> '' and t.n not in (select task from ended) and t.n not in (select task from keys))`,
		"runs":        `select count(*) from runs where task not in (select n from tasks)`,
		"checkpoints": `select count(*) from checkpoints where task not in (select n from tasks)`,
		"steps":       `select count(*) from steps where task not in (select n from tasks)`,
		"logs":        `select count(*) from logs where task not in (select n from tasks)`,
		"asked":       `select count(*) from asked where task not in (select n from tasks)`,
		// A count that differs from the number of rows.
		"counts": `
			select count(*) from (
				select queue, kind, status from (
					select queue, kind, status, n from counts
					union all
					select t.queue, t.kind, e.status, -1 from ended e join tasks t on t.n = e.task
				) group by queue, kind, status having sum(n) <> 0
			)`,
		// No worker is alive any more. A worker that has left, or is dead and holds no run, has no row.
		"workers": `select count(*) from workers`,
	},
}

// openSQLite opens a file with a connection that waits for locks.
func openSQLite(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path, RawQuery: "_pragma=busy_timeout(20000)"}).String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// readSQLite inspects a file.
func readSQLite(ctx context.Context, path string) (state history.State, err error) {
	if _, err := os.Stat(path); err != nil { // opening would create it
		return state, err
	}
	db, err := openSQLite(path)
	if err != nil {
		return state, err
	}
	i := &inspector{db: db}
	err = i.read(ctx, sqliteReading)
	var found string
	if err == nil {
		err = db.QueryRowContext(ctx, `pragma integrity_check(3)`).Scan(&found)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return state, fmt.Errorf("%s: %w", path, err)
	}
	if found != "ok" {
		i.leave("damage in the file: %s", found)
	}
	err = i.lookBeside(path)
	return i.state, err
}

// lookBeside looks for files next to the database, and in the directory of the workers' locks, that
// nobody needs when no process has the database open.
func (i *inspector) lookBeside(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	base := filepath.Base(path)
	for _, e := range entries {
		if rest, ours := strings.CutPrefix(e.Name(), base+"-"); ours && rest != "workers" {
			i.leave("file %s", e.Name())
		}
	}
	locks, err := os.ReadDir(path + "-workers")
	if err != nil {
		return err
	}
	for _, e := range locks {
		if e.Name() != "notify" && e.Name() != "stop" {
			i.leave("file %s-workers/%s", base, e.Name())
		}
	}
	return nil
}
