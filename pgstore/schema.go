package pgstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A step brings the schema from the version before it to its own. Steps expand first and contract
// one release later, so that two versions of the program can run side by side during a deploy:
// oldest is the oldest schema version whose programs still work on the result.
type step struct {
	oldest int
	sql    string
}

// steps are the schema's history; the n-th (from 1) makes version n. An @ before a dot stands for
// the schema's name.
//
// tasks has what was submitted, which never changes. states has what has come of it since: a row is made by the first thing that happens
// to a task and is more than a place on a sheet, and what is null there is as it was when the task was made. Most tasks that
// are made many at once have none. rows has both, to be read.
// Nothing is written there when a run begins: which task may be claimed, and which must wait for its
// time, stand in narrow tables of their own, and a task's status follows from where it stands. No index
// covers what an ending run changes. runs has the runs before the last one.
//
// claims has a row for all that a worker got of a lane at once, whose runs have one number. A task runs that
// is named there, is in none of its sheets, and whose state does not have that number yet: to write it ends the run, and everything that
// is written of a run has this for a condition. So the row of a claim need not be touched before the last of
// its runs has ended. members has the claims task by task, running those that run. What was asked of a run
// stands in the task's state, where its end meets it, and in asked, for the beats.
//
// A sheet is one row for many runs of a claim that ended together and left nothing but that (sheets.go): in successes for good, in
// interruptions until they are put back among those that wait. records has what the sheets say, rows has not. A claim
// that is apart has no more sheets: somebody else is at its runs, who looks at their rows.
//
// A queue and a kind together are a lane, which has a number; so has a worker's incarnation. Numbers
// keep the narrow rows narrow. failures has the tasks that have failed or were cancelled, so that a listing finds them. tallies has
// the numbers of ended tasks, as sums of changes: nobody waits for a neighbour's count.
var steps = []step{{oldest: 1, sql: `
create table @.lanes (
	n     integer generated always as identity primary key,
	kind  text collate "C" not null,
	queue text collate "C" not null,
	unique (kind, queue)
);

create table @.paused (queue text collate "C" not null primary key);

create table @.incarnations (
	n     integer generated always as identity primary key,
	id    text collate "C" not null unique,
	host  text not null,
	pid   integer not null,
	since timestamptz not null
);

create table @.workers (
	id       text collate "C" not null primary key,
	n        integer not null unique,
	name     text not null,
	kinds    text[] not null,
	lease    bigint not null, -- microseconds
	seq      bigint not null,
	state    text not null,
	boot     timestamptz,     -- the start of the server on which its lock is held, null if none is
	confirm  bigint not null default 0, -- microseconds: for how long its lock must have been free to be evidence
	dead     boolean not null default false,
	evidence boolean not null default false,
	suspects boolean not null default false
) with (fillfactor = 50);

create table @.tasks (
	id       uuid not null primary key,
	created  timestamptz not null default now(),
	run_at   timestamptz, -- null: at once
	priority bigint not null,
	lane     integer not null,
	key      text collate "C",
	payload  bytea not null
);

create table @.states (
	task              uuid not null primary key,
	run               bigint,
	saved             bigint, -- the last run that has changed the task before it ended
	started           timestamptz,
	since             timestamptz,
	run_at            timestamptz,
	worker            integer,
	runs              integer,
	attempts          integer,
	interruptions     integer,
	crashes           integer,
	crash_streak      integer,
	interrupt_streak  integer,
	max_attempts      integer,
	max_crashes       integer,
	max_interruptions integer,
	crashed           boolean,
	taken             boolean,
	fraction          double precision,
	status            text collate "C",
	reason            text collate "C",
	error             text,
	message           text,
	asked             text collate "C",
	checkpoint        bytea,
	result            bytea
) with (fillfactor = 45); -- room for each row once more

create view @.rows as
select t.id, t.created, t.priority, t.lane, coalesce(s.worker, 0) as worker, coalesce(s.run, 0) as run, s.started, coalesce(s.since, t.created) as since,
	coalesce(s.run_at, t.run_at, t.created) as run_at, coalesce(s.runs, 0) as runs, coalesce(s.attempts, 0) as attempts,
	coalesce(s.interruptions, 0) as interruptions, coalesce(s.crashes, 0) as crashes, coalesce(s.crash_streak, 0) as crash_streak,
	coalesce(s.interrupt_streak, 0) as interrupt_streak, coalesce(s.max_attempts, 0) as max_attempts, coalesce(s.max_crashes, 0) as max_crashes,
	coalesce(s.max_interruptions, 0) as max_interruptions, coalesce(s.crashed, false) as crashed, coalesce(s.taken, false) as taken,
	coalesce(s.fraction, 0) as fraction, coalesce(s.status, 'queued') as status, coalesce(s.reason, '') as reason, coalesce(s.error, '') as error,
	coalesce(s.message, '') as message, coalesce(t.key, '') as key, t.payload, s.checkpoint, s.result
from @.tasks t left join @.states s on s.task = t.id;

create table @.keys (
	kind text collate "C" not null,
	key  text collate "C" not null,
	task uuid not null,
	primary key (kind, key)
);

create table @.ready (
	rank    bigint not null,  -- the priority's complement: the smaller comes first
	run_at  timestamptz not null default now(),
	id      uuid not null,
	lane    integer not null,
	fresh   boolean not null default true, -- false: interrupted
	suspect boolean not null default false,
	run     bigint,  -- of the last run, and how many there were; null if none
	runs    integer,
	payload bytea,   -- of a task that is nothing but its payload, a small one; null: the record has it
	primary key (lane, suspect, rank, fresh, run_at, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

create table @.delayed (
	run_at  timestamptz not null,
	id      uuid not null,
	rank    bigint not null,
	lane    integer not null,
	fresh   boolean not null,
	suspect boolean not null,
	run     bigint,
	runs    integer,
	primary key (run_at, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

create table @.claims (
	n                 bigint generated always as identity primary key,
	worker            integer not null,
	run               bigint not null,
	lane              integer not null,
	suspect           boolean not null,
	started           timestamptz not null default now(),
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	apart             boolean not null default false,
	tasks             uuid[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

alter table @.claims alter tasks set storage external;

create index held on @.claims (worker, run);

create view @.members as
select m.task, c.run, c.worker, c.suspect, c.started, c.max_attempts, c.max_crashes, c.max_interruptions
from @.claims c, unnest(c.tasks) as m(task);

-- when an id was made, in milliseconds, if it is a UUIDv7
create function @.ms(id uuid) returns bigint language sql immutable parallel safe
	as $$ select ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint $$;

create table @.successes (
	claim             bigint not null,
	lane              integer not null,
	worker            integer not null,
	run               bigint not null,
	started           timestamptz not null,
	since             timestamptz not null,
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	ms                bigint not null, -- of the first of the tasks
	first             uuid not null,
	last              uuid not null,
	tasks             uuid[] not null
);

create index successes_tasks on @.successes (ms, first, last);

create index successes_claim on @.successes (claim);

create table @.interruptions (
	n                 bigint generated always as identity primary key,
	claim             bigint not null,
	lane              integer not null,
	worker            integer not null,
	run               bigint not null,
	started           timestamptz not null,
	since             timestamptz not null,
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	reason            text collate "C" not null,
	first             uuid not null,
	last              uuid not null,
	tasks             uuid[] not null,
	attempts          integer[] not null, -- these and the following in the order of tasks
	interruptions     integer[] not null,
	crashes           integer[] not null,
	crash_streaks     integer[] not null,
	interrupt_streaks integer[] not null,
	delays            bigint[] not null -- microseconds after since
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0);

alter table @.interruptions alter tasks set storage external, alter attempts set storage external, alter interruptions set storage external,
	alter crashes set storage external, alter crash_streaks set storage external, alter interrupt_streaks set storage external, alter delays set storage external;

create index interruptions_claim on @.interruptions (claim);

create view @.running as
select m.task, c.n as claim, c.run, c.worker, c.suspect, c.started, c.max_attempts, c.max_crashes, c.max_interruptions, t.lane
from @.claims c, lateral (
	select unnest(c.tasks) as task
	except select unnest(s.tasks) from @.successes s where s.claim = c.n
	except select unnest(i.tasks) from @.interruptions i where i.claim = c.n
) m, lateral (
	select t.lane, coalesce(s.run, 0) as ended from @.tasks t left join @.states s on s.task = t.id where t.id = m.task offset 0 -- looked for one by one
) t where c.run > t.ended;

create view @.records as
select t.id, t.created, t.priority, t.lane, coalesce(s.worker, t.worker) as worker, coalesce(s.run, t.run) as run, coalesce(s.started, t.started) as started,
	coalesce(s.since, t.since) as since, coalesce(s.run_at, t.run_at) as run_at, case when s.run is null then t.runs else t.runs + 1 end as runs,
	coalesce(s.attempts, t.attempts) as attempts, coalesce(s.interruptions, t.interruptions) as interruptions, coalesce(s.crashes, t.crashes) as crashes,
	coalesce(s.crash_streak, t.crash_streak) as crash_streak, coalesce(s.interrupt_streak, t.interrupt_streak) as interrupt_streak,
	coalesce(s.max_attempts, t.max_attempts) as max_attempts, coalesce(s.max_crashes, t.max_crashes) as max_crashes,
	coalesce(s.max_interruptions, t.max_interruptions) as max_interruptions, s.run is null and t.crashed as crashed, s.run is null and t.taken as taken,
	t.fraction, coalesce(s.status, t.status) as status, coalesce(s.reason, t.reason) as reason, case when s.run is null then t.error else '' end as error,
	t.message, t.key, t.payload, t.checkpoint, t.result, t.status as row_status
from @.rows t left join lateral (
	(
		select s.worker, s.run, s.started, s.since, null::timestamptz as run_at, null::integer as attempts, null::integer as interruptions,
			null::integer as crashes, null::integer as crash_streak, null::integer as interrupt_streak,
			s.max_attempts, s.max_crashes, s.max_interruptions, 'succeeded' as status, '' as reason
		from @.successes s
		where s.ms between @.ms(t.id) - 250 and @.ms(t.id) and s.first <= t.id and s.last >= t.id and t.id = any (s.tasks) and s.run > t.run
		order by s.ms desc, s.first desc limit 1 -- sheets seldom overlap: it is the nearest
	)
	union all
	select i.worker, i.run, i.started, i.since, i.since + i.delays[p.n] * interval '1 microsecond', i.attempts[p.n], i.interruptions[p.n],
		i.crashes[p.n], i.crash_streaks[p.n], i.interrupt_streaks[p.n],
		i.max_attempts, i.max_crashes, i.max_interruptions, 'interrupted', i.reason
	from @.interruptions i, array_position(i.tasks, t.id) as p(n) where i.first <= t.id and i.last >= t.id and p.n > 0 and i.run > t.run
) s on true;

create table @.asked (
	task   uuid not null primary key,
	run    bigint not null,
	worker integer not null,
	verb   text collate "C" not null
);

create table @.runs (
	task    uuid not null,
	run     bigint not null,
	started timestamptz not null,
	ended   timestamptz not null,
	worker  integer not null,
	crashed boolean not null,
	taken   boolean not null,
	status  text collate "C" not null,
	reason  text collate "C" not null,
	error   text not null,
	primary key (task, run)
);

-- the tasks that have failed or were cancelled, for listings
create table @.failures (
	id     uuid not null primary key,
	lane   integer not null,
	status text collate "C" not null
);

create table @.logs (
	task uuid not null primary key,
	body bytea not null
);

create table @.tallies (
	lane   integer not null,
	status text collate "C" not null,
	n      bigint not null
);
`}}

// prepareSchema checks the schema's version, and brings it up to date if it may.
func (s *Store) prepareSchema(ctx context.Context, migrate bool) error {
	version, oldest, err := s.schemaVersion(ctx, s.pool)
	if err != nil {
		return err
	}
	known := len(steps)
	switch {
	case oldest > known:
		return fmt.Errorf("a newer lastcall has changed the schema %s (version %d, readable from %d; this program knows %d): use the newer program", s.schema, version, oldest, known)
	case version >= known:
		return nil
	case !migrate && version == 0:
		return fmt.Errorf("the schema %s has no tables of lastcall: make them with lastcall migrate up or serve --migrate (in Go, Config.Migrate), with a role that may create a schema", s.schema)
	case !migrate:
		return fmt.Errorf("the schema %s has version %d and this program needs %d: bring it up to date with lastcall migrate up or serve --migrate (in Go, Config.Migrate)", s.schema, version, known)
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.migrate(ctx, tx) })
}

// migrationLock is the first key of the advisory lock that migrations of a database share.
const migrationLock = 0x6c617374

// migrate makes the missing steps, one program at a time.
func (s *Store) migrate(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1, hashtext($2))`, migrationLock, s.schema); err != nil {
		return err
	}
	// create ... if not exists wants the right to create also where nothing is missing.
	var exists bool
	if err := tx.QueryRow(ctx, `select exists (select 1 from pg_namespace where nspname = $1)`, s.schema).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := tx.Exec(ctx, `create schema `+s.ident); err != nil {
			return err
		}
	}
	version, oldest, err := s.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	known := len(steps)
	if version >= known || oldest > known {
		return nil // somebody else was quicker
	}
	if version == 0 {
		if _, err := tx.Exec(ctx, s.sql(`create table @.lastcall (key text not null primary key, value integer not null)`)); err != nil {
			return err
		}
	}
	for _, step := range steps[version:] {
		for part := range strings.SplitSeq(step.sql, ";\n") {
			if strings.TrimSpace(part) == "" {
				continue
			}
			if _, err := tx.Exec(ctx, s.sql(part)); err != nil {
				return fmt.Errorf("schema %s: %w", s.schema, err)
			}
		}
	}
	_, err = tx.Exec(ctx, s.sql(`insert into @.lastcall (key, value) values ('version', $1), ('oldest', $2)
		on conflict (key) do update set value = excluded.value`), known, steps[known-1].oldest)
	return err
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// schemaVersion reads the version of the schema and the oldest one that it is compatible with: 0, 0
// where there is none.
func (s *Store) schemaVersion(ctx context.Context, q queryer) (version, oldest int, err error) {
	var ours bool
	const look = `select exists (select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = 'lastcall')`
	if err := q.QueryRow(ctx, look, s.schema).Scan(&ours); err != nil || !ours {
		return 0, 0, err
	}
	err = q.QueryRow(ctx, s.sql(`select coalesce(max(value) filter (where key = 'version'), 0),
		coalesce(max(value) filter (where key = 'oldest'), 0) from @.lastcall`)).Scan(&version, &oldest)
	return version, oldest, err
}

// sql puts the schema's name into a statement.
func (s *Store) sql(text string) string { return withSchema(text, s.ident) }
