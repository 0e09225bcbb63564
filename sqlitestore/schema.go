package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"modernc.org/sqlite"
)

// A step brings the schema from the version before it to its own. Steps expand first and contract
// one release later, so that two versions of the program can run side by side during a deploy:
// oldest is the oldest schema version whose programs still work on the result.
type step struct {
	oldest int
	sql    string
}

// steps are the schema's history; the n-th (from 1) makes version n.
//
// tasks is the record, with the last run that ended. Nothing is written there when a run begins:
// which task may be claimed, which must wait for its time and who has which stand in narrow tables
// of their own, and a task's status follows from where it stands. runs has the earlier runs. A
// listing finds failed and cancelled tasks by an index of their own. A
// queue and a kind together are a lane, which has a number; so has a worker's incarnation, whose
// row is kept for the history. tallies has the numbers of ended tasks. Times are microseconds since
// 1970.
var steps = []step{{oldest: 1, sql: `
create table lanes (
	n     integer primary key,
	kind  text not null,
	queue text not null,
	unique (kind, queue)
) strict;

create table paused (queue text not null primary key) strict, without rowid;

create table incarnations (
	n    integer primary key,
	id   text not null unique,
	host text not null,
	pid  integer not null
) strict;

create table tasks (
	id                text not null primary key,
	lane              integer not null,
	priority          integer not null,
	status            text not null default 'queued',
	created           integer not null,
	since             integer not null,
	run_at            integer not null,
	run               integer not null default 0,
	runs              integer not null default 0,
	started           integer not null default 0,
	worker            integer not null default 0,
	attempts          integer not null default 0,
	interruptions     integer not null default 0,
	crashes           integer not null default 0,
	crash_streak      integer not null default 0,
	interrupt_streak  integer not null default 0,
	max_attempts      integer not null default 0,
	max_crashes       integer not null default 0,
	max_interruptions integer not null default 0,
	crashed           integer not null default 0,
	taken             integer not null default 0,
	reason            text not null default '',
	error             text not null default '',
	fraction          real not null default 0,
	message           text not null default '',
	key               text not null default '',
	payload           blob not null,
	checkpoint        blob,
	result            blob
) strict, without rowid;

create table keys (
	kind text not null,
	key  text not null,
	task text not null,
	primary key (kind, key)
) strict, without rowid;

create table ready (
	lane    integer not null,
	suspect integer not null,
	rank    integer not null, -- the priority's negative: the smaller comes first
	fresh   integer not null, -- 0 interrupted, 1 queued
	run_at  integer not null,
	id      text not null,
	run     integer not null, -- of the last run, and how many there were
	runs    integer not null,
	primary key (lane, suspect, rank, fresh, run_at, id)
) strict, without rowid;

create table delayed (
	run_at  integer not null,
	id      text not null,
	lane    integer not null,
	suspect integer not null,
	rank    integer not null,
	fresh   integer not null,
	run     integer not null,
	runs    integer not null,
	primary key (run_at, id)
) strict, without rowid;

create table leases (
	task              text not null primary key,
	run               integer not null,
	worker            integer not null,
	lane              integer not null,
	runs              integer not null,
	started           integer not null,
	suspect           integer not null,
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	asked             text not null default ''
) strict, without rowid;

create index asked on leases (worker) where asked <> '';

create table runs (
	task    text not null,
	run     integer not null,
	worker  integer not null,
	started integer not null,
	ended   integer not null,
	status  text not null,
	reason  text not null,
	error   text not null,
	crashed integer not null,
	taken   integer not null,
	primary key (task, run)
) strict, without rowid;

create table logs (
	task text not null primary key,
	body blob not null
) strict, without rowid;

create table tallies (
	lane   integer not null,
	status text not null,
	n      integer not null,
	primary key (lane, status)
) strict, without rowid;

create table workers (
	id       text not null primary key,
	n        integer not null unique,
	name     text not null,
	kinds    text not null,
	lease    integer not null, -- microseconds
	seq      integer not null,
	state    text not null,
	since    integer not null,
	boot     text not null,    -- the boot in which the lock was taken, '' if there is none
	dead     integer not null default 0,
	evidence integer not null default 0,
	suspects integer not null default 0
) strict, without rowid;
`}, {oldest: 1, sql: `
create index failures on tasks (id) where status in ('failed', 'cancelled');
`}}

// migrate brings the schema up to date, in one transaction. A look comes first, so that a program
// that starts beside busy ones needs no turn to write.
func migrate(ctx context.Context, db *sql.DB) (err error) {
	ours, version, oldest, err := schemaVersion(ctx, db)
	if err != nil {
		return err
	}
	if known := len(steps); ours && version >= known && oldest <= known {
		return nil
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rolledBack(tx.Rollback()))
		}
	}()
	if ours, version, oldest, err = schemaVersion(ctx, tx); err != nil {
		return err
	}
	if !ours {
		if _, err := tx.ExecContext(ctx, `create table lastcall (key text not null primary key, value integer not null) strict, without rowid`); err != nil {
			return err
		}
	}
	known := len(steps)
	if oldest > known {
		return fmt.Errorf("a newer lastcall has changed this database (schema %d, readable from %d; this program knows %d): use the newer program", version, oldest, known)
	}
	for _, step := range steps[min(version, known):] {
		if _, err := tx.ExecContext(ctx, step.sql); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	if version < known {
		const set = `insert into lastcall (key, value) values ('version', ?), ('oldest', ?)
			on conflict (key) do update set value = excluded.value`
		if _, err := tx.ExecContext(ctx, set, known, steps[known-1].oldest); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	return tx.Commit()
}

// schemaVersion reads the version of the schema and the oldest one that it is compatible with: 0, 0
// for an empty database, which is not ours yet.
func schemaVersion(ctx context.Context, q queryer) (ours bool, version, oldest int, err error) {
	var tables, named int
	const look = `select count(*), coalesce(sum(name = 'lastcall'), 0) from sqlite_master where type = 'table'`
	if err := q.QueryRowContext(ctx, look).Scan(&tables, &named); err != nil {
		return false, 0, 0, err
	}
	if named == 0 {
		if tables > 0 {
			return false, 0, 0, errors.New("this is a SQLite database of another program: name another file")
		}
		return false, 0, 0, nil
	}
	const get = `select coalesce(max(case key when 'version' then value end), 0),
		coalesce(max(case key when 'oldest' then value end), 0) from lastcall`
	err = q.QueryRowContext(ctx, get).Scan(&version, &oldest)
	return true, version, oldest, err
}

// explain names the process that keeps others from writing, where that is what went wrong.
func (s *Store) explain(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY {
		if pid := blocker(s.path + "-shm"); pid > 0 {
			return fmt.Errorf("%w: process %d has been writing for five seconds: is it stopped? continue it (kill -CONT %d) or kill it", err, pid, pid)
		}
	}
	return explain(err)
}

// damaged says what to do about a file that is.
const damaged = "the file is damaged: stop all servers on it and restore it from a backup, or save what can be read with sqlite3 FILE .recover; and look at the disk"

// explain adds what to do to SQLite's commonest complaints.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	var hint string
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB:
		hint = "restore the file from a backup, or name another one"
	case sqlite3.SQLITE_CORRUPT:
		hint = damaged
	case sqlite3.SQLITE_IOERR:
		// SQLite says so too when there is no room for the file -shm, which it makes when it opens another.
		hint = "is the disk full (df), or mounted read-only? Make room on it; what was accepted is safe. Otherwise it is failing: look at the kernel's log (dmesg)"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		hint = "another process has been writing for five seconds: is one of them stopped?"
	case sqlite3.SQLITE_FULL:
		hint = "make room on the disk; what was accepted is safe"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		hint = "the file, its -wal and -shm beside it, and the directory must be writable for this user"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}
