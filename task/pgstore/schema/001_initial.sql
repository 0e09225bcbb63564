-- The tables of version 1. README.md describes how a task moves through them. An @ before a dot is
-- replaced by the name of the schema.

-- What was submitted. A row is written once, and deleted when the task is pruned. Only a new task
-- that replaces this one updates it.
create table @.tasks (
	id              uuid not null primary key,
	created         timestamptz not null default now(),
	run_at          timestamptz, -- null: at once
	route           bigint not null,
	priority        integer not null,
	kind            text collate "C" not null,
	queue           text collate "C" not null,
	key             text collate "C",
	payload         bytea not null,
	parent          uuid,
	batch           uuid,
	schedule        text collate "C",
	concurrency_key text collate "C",
	meta            jsonb, -- an object of texts; null: none
	start_before    timestamptz, -- the first claim must come before this time; null: no such time
	first_hash      bytea, -- the hash of the payload with which a replaced task was added
	replaced_by     uuid   -- the new task that replaced it last
);
create index tasks_created on @.tasks (created);
create index tasks_kind on @.tasks (kind, created);
create index tasks_queue on @.tasks (queue, kind, created);
create index tasks_key on @.tasks (key, created) where key is not null;

-- Tasks that can be claimed now. The columns after payload are for tasks that have run before.
create table @.ready (
	created          timestamptz not null default now(),
	id               uuid not null,
	run_at           timestamptz not null default now(),
	route            bigint not null,
	-- The complement of the priority: the smaller comes first.
	sort_priority    integer not null,
	queued           boolean not null default true, -- false: interrupted
	suspicion        bigint,                        -- the group of a suspect, null for all others
	-- The first claim must come before this time; null: no such time, or there was a claim.
	start_before     timestamptz,
	kind             text collate "C" not null,
	queue            text collate "C" not null,
	key              text collate "C",
	concurrency_key  text collate "C",
	payload          bytea, -- null: it is in tasks, with the meta if there is any
	last_run         bigint,
	runs             integer,
	attempts         integer,
	interruptions    integer,
	crashes          integer,
	crash_streak     integer,
	interrupt_streak integer,
	since            timestamptz,
	reason           text collate "C",
	status           text collate "C" not null generated always as (case when queued then 'queued' else 'interrupted' end) stored,
	primary key (created, id),
	-- The planner leaves out tables that cannot have a status.
	check (status in ('queued', 'interrupted'))
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index ready_order on @.ready (route, sort_priority, queued, run_at, id) where suspicion is null;
create index ready_interrupted on @.ready (created, id) where status = 'interrupted';
create index ready_handover on @.ready (route, sort_priority, run_at, id) where suspicion is null and status = 'interrupted';
create index ready_expiring on @.ready (start_before) where start_before is not null;
create index ready_suspects on @.ready (route, sort_priority, queued, run_at, id) where suspicion is not null;
create index ready_suspicion on @.ready (suspicion, route, sort_priority, queued, run_at, id) where suspicion is not null;

-- Tasks whose time has not come: the same columns as ready, and run_at is the time until which a
-- task waits.
create table @.delayed (
	like @.ready including defaults including generated including constraints,
	primary key (created, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index delayed_time on @.delayed (run_at);
create index delayed_route on @.delayed (route);
create index delayed_order on @.delayed (sort_priority, run_at);
create index delayed_expiring on @.delayed (start_before) where start_before is not null;
create index delayed_suspects on @.delayed (suspicion) where suspicion is not null;

-- Tasks that run. The row is the run: the transaction that deletes it has ended the run, and no
-- other can. Only a command updates the row.
create table @.running (
	task              uuid not null primary key,
	run               bigint not null,
	worker            uuid not null,
	started           timestamptz not null default now(),
	created           timestamptz not null,
	route             bigint not null,
	sort_priority     integer not null,
	suspicion         bigint,
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	-- The retention of the kind, in microseconds; -1: for ever; null: none of its own.
	keep_succeeded    bigint,
	keep_failed       bigint,
	keep_cancelled    bigint,
	runs              integer not null,
	last_run          bigint,
	attempts          integer,
	interruptions     integer,
	crashes           integer,
	crash_streak      integer,
	interrupt_streak  integer,
	kind              text collate "C" not null,
	queue             text collate "C" not null,
	key               text collate "C",
	concurrency_key   text collate "C",
	reason            text collate "C",
	command           text collate "C" -- the command to the run: cancel or interrupt; null: none
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index running_commands on @.running (worker) where command is not null;
create index running_crashed on @.running (worker, task) where crash_streak > 0;

-- Tasks that have ended, and how: a task has a row here while it has ended, and only then. The
-- record of the run that ended it is here too. started is null if the task was cancelled while it
-- waited.
create table @.ended (
	created          timestamptz not null,
	task             uuid not null,
	ended            timestamptz not null default now(),
	-- When it is to be removed, or infinity; null: it has no retention of its own.
	expires          timestamptz,
	started          timestamptz,
	run              bigint,
	worker           uuid,
	runs             integer,
	attempts         integer,
	interruptions    integer,
	crashes          integer,
	crash_streak     integer,
	interrupt_streak integer,
	crashed          boolean,
	reclaimed        boolean,
	fraction         double precision,
	status           text collate "C" not null,
	kind             text collate "C" not null,
	queue            text collate "C" not null,
	error            text,
	message          text,
	result           bytea,
	log              bytea, -- the last lines of the log, which came with the end
	reason           text collate "C", -- expired; null for all others
	primary key (created, task),
	check (status in ('succeeded', 'failed', 'cancelled'))
);
create index ended_at on @.ended (ended);
create index ended_expires on @.ended (expires) where expires is not null;
create index ended_unsuccessful on @.ended (status, created) where status <> 'succeeded';
create index ended_unsuccessful_at on @.ended (status, ended) where status <> 'succeeded';
create index ended_unsuccessful_kind on @.ended (status, kind, created) where status <> 'succeeded';

-- The runs that did not end their tasks. They are history: no decision about a task depends on
-- them.
create table @.runs (
	task      uuid not null,
	run       bigint not null,
	worker    uuid not null,
	started   timestamptz not null,
	ended     timestamptz not null,
	crashed   boolean,
	reclaimed boolean,
	status    text collate "C" not null,
	reason    text collate "C",
	error     text,
	primary key (task, run)
);

-- What handlers have saved. The row without a step has the checkpoint and the progress, with the
-- counters of the run that saved them; body is null if the task has progress but no checkpoint. The
-- other rows are the steps, each with its result or its position.
create table @.checkpoints (
	task             uuid not null,
	step             text collate "C" not null default '',
	run              bigint not null,
	saved            timestamptz not null default now(),
	attempts         integer,
	interruptions    integer,
	crashes          integer,
	crash_streak     integer,
	interrupt_streak integer,
	fraction         double precision,
	message          text,
	body             bytea,
	place            integer, -- the place of a step in the order of steps; null: it is skipped
	state            text collate "C", -- the state of a step: done, open or skipped
	version          text, -- the version of the program that recorded the step
	primary key (task, step)
) with (fillfactor = 50);

-- The log of all runs before the last one, and what the last one wrote before its end.
create table @.logs (
	task uuid not null primary key,
	body bytea not null
);

-- The commands that people have given for a task, who gave them, and why.
create table @.commands (
	task     uuid not null,
	at       timestamptz not null default now(),
	verb     text collate "C" not null,
	asked_by text,
	reason   text,
	primary key (task, at)
);

-- Which task of a kind has a key: an unfinished one, or one for which the key is held for longer.
create table @.keys (
	kind  text collate "C" not null,
	key   text collate "C" not null,
	task  uuid not null,
	until timestamptz, -- the key is held until then at least
	ended boolean not null default false, -- the task has ended, so only until counts
	primary key (kind, key)
);
create index keys_until on @.keys (until) where ended;

-- The name of the channel of announcements. Every role that knows the name of a channel may listen
-- and notify there. This name is known only to roles that may read the table.
create table @.channel (name uuid not null primary key default gen_random_uuid());
insert into @.channel default values;

create table @.paused (queue text collate "C" not null primary key);

-- Sets of schedules. A generation is one version of the content of a set, with a new id.
create table @.schedule_sets (
	name       text collate "C" not null primary key,
	generation uuid not null,
	revision   bigint not null,
	digest     text not null,
	former     text[] not null, -- the earlier digests, the newest last
	salt       text not null, -- goes into the ids of the tasks
	beats      bigint not null default 0, -- grows while a process with this generation runs
	heard      timestamptz not null default now() -- when it last grew
) with (fillfactor = 50);

-- The schedules. A tick locks the row, compares generation and tick, and sets the next tick.
create table @.schedules (
	set        text collate "C" not null,
	name       text collate "C" not null,
	generation uuid not null,
	tick       timestamptz, -- the next tick; null: there is none
	due        timestamptz, -- equals tick, or is later while the tick waits for the end of last_task
	paused     boolean not null default false,
	last       timestamptz, -- the tick that made last_task
	last_task  uuid,
	timing     text not null,
	words      text not null,
	template   bytea not null,
	primary key (set, name)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
create index schedules_due on @.schedules (set, due) where due is not null;

-- The registered workers, and those that are gone, whose names the history needs.
create table @.workers (
	worker   uuid not null primary key,
	id       text collate "C" not null unique,
	name     text not null,
	host     text not null,
	pid      integer not null,
	kinds    text[] not null,
	queues   text[] not null, -- empty: every queue
	slots    integer not null,
	lease    bigint not null, -- microseconds
	seq      bigint not null,
	state    text not null,
	unresponsive text[] not null default '{}', -- the tasks of its unresponsive handlers
	paused   jsonb not null default '[]', -- the kinds that it does not claim at present, and why
	since    timestamptz not null default now(),
	session  text, -- the application_name of its process's session
	role     oid, -- the role of that session
	-- The number of that session's connection, which grows.
	connection bigint not null default 0,
	-- The start of the server during which the session is evidence; null: it is no evidence.
	boot     timestamptz,
	-- How long the session must have been gone to be evidence, in microseconds.
	confirm  bigint not null default 0,
	epoch    bigint not null default 0, -- claims of an earlier epoch are refused
	dead     boolean not null default false,
	evidence boolean not null default false,
	suspects bigint not null default 0, -- how many suspects it held when it was marked dead
	split    uuid, -- the task at which their second half began
	gone     timestamptz
) with (fillfactor = 50);
create index workers_gone on @.workers (gone) where gone is not null;

-- How many tasks there are, as sums of changes, so that no transaction waits for another one's
-- count. The status is added (all tasks that exist), interrupted (those of them that wait), or that
-- of an ended task.
create table @.counts (
	n      uuid not null primary key default gen_random_uuid(),
	kind   text collate "C" not null,
	queue  text collate "C" not null,
	status text collate "C" not null,
	delta  bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- add_tasks records new tasks. It returns the tasks that it left out, by their places in the
-- arrays, which are sorted by id. There are three reasons to leave out a task:
--
-- - its id exists (conflict is true if the existing task is a different one);
-- - its key is held;
-- - an open transaction has its id or its key, so that neither of the two is known.
--
-- An array that no task needs is null. add_tasks waits only a little for an open transaction. Then
-- it tries the tasks one by one to find those that are concerned, and records the others. It is a
-- function because a function has its own settings, whatever those of the caller's session are, and
-- can undo an error without the caller's transaction.
--
-- Keys are held for as many microseconds as keeps has. A 1 in replacing says that the task replaces
-- the one that has its key. places has the order of the tasks with the same key, null if that is
-- the order of the arrays.
create function @.add_tasks(ids uuid[], kinds text[], queues text[], keys text[], routes bigint[], priorities integer[], delays bigint[], payloads bytea[], metas text[], start_befores bigint[], inline integer,
		keeps bigint[], replacing integer[], places integer[])
	returns table (place integer, holder uuid, existed boolean, conflict boolean, busy boolean, replaced boolean)
	language plpgsql set lock_timeout = '100ms' set search_path = pg_catalog, pg_temp
	set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	left_out boolean[];
	-- The places of the tasks that were left out because of an open transaction.
	held_up integer[] := '{}';
	before integer;
	patience integer := 100; -- milliseconds
	made bigint := 0;
	made_with_key uuid[];
	n integer;
	replaced_here integer[] := '{}'; -- the places of the tasks that have replaced another one
	kept_off integer[] := '{}'; -- the places of those that an open transaction prevents from doing so
begin
	if keys is not null and exists (select 1 from @.keys k where k.ended and k.until <= now() limit 1) then
		delete from @.keys d where d.ctid = any (array(
			select k.ctid from (select unnest(kinds) as kind, unnest(keys) as key) a, lateral (
				select k.ctid from @.keys k where k.kind = a.kind and k.key = a.key and k.ended and k.until <= now() limit 1 for update skip locked
			) k
		));
	end if;
	if replacing is not null then
		select r.done, r.stuck into replaced_here, kept_off from @.replace_tasks(ids, kinds, keys, priorities, delays, payloads, metas, start_befores, inline, replacing, places, left_out) r;
		select array_agg((i in (select unnest(replaced_here) union all select unnest(kept_off))) is true order by i) into left_out from generate_series(1, cardinality(ids)) i;
	end if;
	while (false = any (left_out)) is not false loop
		begin
			with taken as (
				insert into @.keys (kind, key, task, until)
				select a.kind, a.key, a.id, case when a.keep > 0 then now() + a.keep * interval '1 microsecond' end
				from (select unnest(kinds) as kind, unnest(keys) as key, unnest(ids) as id, unnest(keeps) as keep, unnest(places) as place,
					unnest(left_out) as left_out, generate_subscripts(ids, 1) as n) a
				where keys is not null and a.key is not null and a.left_out is not true
				order by a.kind, a.key, a.place, a.n
				on conflict do nothing returning task
			), added as (
				insert into @.tasks (id, kind, queue, key, route, priority, run_at, payload, meta, start_before)
				select a.id, a.kind, a.queue, a.key, a.route, coalesce(a.priority, 0), case when a.delay > 0 then now() + a.delay * interval '1 microsecond' end, a.payload, a.meta::jsonb,
					case when a.start_before > 0 then now() + a.start_before * interval '1 microsecond' end
				from (select unnest(ids) as id, unnest(kinds) as kind, unnest(queues) as queue, unnest(keys) as key, unnest(routes) as route,
					unnest(priorities) as priority, unnest(delays) as delay, unnest(payloads) as payload, unnest(metas) as meta,
					unnest(start_befores) as start_before, unnest(left_out) as left_out) a
				where (select count(*) from taken) >= 0 -- all keys are taken before the first task is recorded
					and a.left_out is not true and (a.key is null or a.id in (select t.task from taken t))
				returning tasks.id, tasks.kind, tasks.queue, tasks.key, tasks.route, tasks.priority, tasks.run_at, tasks.payload, tasks.meta is null as plain, tasks.start_before
			), into_ready as (
				insert into @.ready (id, kind, queue, key, route, sort_priority, start_before, payload)
				select a.id, a.kind, a.queue, a.key, a.route, ~a.priority, a.start_before, case when a.plain and length(a.payload) <= inline then a.payload end from added a where a.run_at is null
			), into_delayed as (
				insert into @.delayed (id, run_at, kind, queue, key, route, sort_priority, start_before)
				select a.id, a.run_at, a.kind, a.queue, a.key, a.route, ~a.priority, a.start_before from added a where delays is not null and a.run_at is not null
			), counted as (
				insert into @.counts (kind, queue, status, delta) select a.kind, a.queue, 'added', count(*) from added a group by a.kind, a.queue
			)
			select count(*), array_agg(a.id) filter (where a.key is not null) into made, made_with_key from added a;
			exit;
		exception
			when unique_violation then -- an id exists, or comes twice
				before := cardinality(array_positions(left_out, true));
				select array_agg(a.left_out is true or a.id = a.previous or exists (select 1 from @.tasks t where t.id = a.id) order by a.n) into left_out
				from (select unnest(ids) as id, unnest(array_prepend(null, ids)) as previous, unnest(left_out) as left_out, generate_subscripts(ids, 1) as n) a
				where a.n is not null;
				if cardinality(array_positions(left_out, true)) = coalesce(before, 0) then
					raise exception using errcode = 'serialization_failure', message = 'could not serialize access: another transaction has added one of the tasks';
				end if;
			when lock_not_available then
				perform set_config('lock_timeout', '10ms', true);
				left_out := coalesce(left_out, array_fill(false, array[cardinality(ids)]));
				before := cardinality(held_up);
				begin
					lock table @.keys, @.tasks in row exclusive mode nowait;
					for n in 1 .. cardinality(ids) loop
						continue when left_out[n];
						begin -- is rolled back in any case
							insert into @.keys (kind, key, task) select kinds[n], keys[n], ids[n] where keys[n] is not null on conflict do nothing;
							insert into @.tasks (id, kind, queue, route, priority, payload) values (ids[n], '', '', 0, 0, '') on conflict do nothing;
							raise exception using errcode = 'LC000';
						exception
							when lock_not_available then
								held_up := held_up || n;
								left_out[n] := true;
							when sqlstate 'LC000' then null;
						end;
						exit when cardinality(held_up) - before > 500;
					end loop;
				exception
					when lock_not_available then null; -- a table is locked: that says nothing about a task
				end;
				-- No task is the reason: a table is locked, or takes long to grow.
				if cardinality(held_up) = before then
					if patience >= 10000 then
						raise;
					end if;
					patience := 10 * patience;
				elsif cardinality(held_up) - before > 500 then
					raise;
				end if;
				perform set_config('lock_timeout', patience || 'ms', true);
		end;
	end loop;
	if made = cardinality(ids) then
		return;
	end if;
	-- Another task of the call has the key now, or another transaction has taken it.
	if replacing is not null and made + cardinality(array_positions(left_out, true)) < cardinality(ids) then
		select replaced_here || r.done, kept_off || r.stuck into replaced_here, kept_off
		from @.replace_tasks(ids, kinds, keys, priorities, delays, payloads, metas, start_befores, inline, replacing, places, left_out) r;
	end if;
	return query select a.n, k.task, t.id is not null, t.id is not null and not (t.kind = a.kind and coalesce(t.first_hash = sha256(a.payload), t.payload = a.payload)),
		a.n = any (held_up) or (a.n in (select unnest(kept_off))) is true, (a.n in (select unnest(replaced_here))) is true
	from (select unnest(ids) as id, unnest(kinds) as kind, unnest(keys) as key, unnest(payloads) as payload, unnest(left_out) as left_out, generate_subscripts(ids, 1) as n) a
	left join lateral (select t.id, t.kind, t.payload, t.first_hash from @.tasks t where t.id = a.id limit 1) t on true
	left join lateral (select k.task from @.keys k where k.kind = a.kind and k.key = a.key and (not k.ended or k.until > now()) limit 1) k on true
	where a.left_out is true or a.key is not null and not exists (select 1 from unnest(made_with_key) m where m = a.id);
end $$;

-- replace_tasks gives waiting tasks the content of new tasks with the same keys. Of several new
-- tasks with one key the last one counts. It returns the places of the new tasks that have replaced
-- another one, now or before, and the places of those that an open transaction prevents from doing
-- so, for which it waits a little. The deleted row of ready or delayed is the guard: only the
-- transaction that has deleted it updates the row of tasks. add_tasks calls this function, with its
-- own settings.
create function @.replace_tasks(ids uuid[], kinds text[], keys text[], priorities integer[], delays bigint[], payloads bytea[], metas text[], start_befores bigint[], inline integer,
		replacing integer[], places integer[], left_out boolean[], out done integer[], out stuck integer[])
	language plpgsql as $$
declare
	patience timestamptz := clock_timestamp() + interval '250 milliseconds';
	more integer[];
begin
	done := '{}';
	stuck := '{}';
	if not exists (select 1 from (select unnest(kinds) as kind, unnest(keys) as key, unnest(replacing) as replaces) a, lateral (
		select 1 from @.keys k where k.kind = a.kind and k.key = a.key and not k.ended limit 1
	) k where a.replaces = 1) then
		return;
	end if;
	loop
		with asked as materialized (
			select a.*, k.task, t.place_of, t.created, t.replaced_by, row_number() over (partition by a.kind, a.key order by a.place desc, a.n desc) = 1 as last
			from (select unnest(ids) as id, unnest(kinds) as kind, unnest(keys) as key, unnest(priorities) as priority, unnest(delays) as delay,
				unnest(payloads) as payload, unnest(metas) as meta, unnest(start_befores) as start_before, unnest(replacing) as replaces, unnest(places) as place,
				unnest(left_out) as left_out, generate_subscripts(ids, 1) as n) a,
			lateral (select k.task from @.keys k where k.kind = a.kind and k.key = a.key and not k.ended limit 1) k,
			lateral (select t.ctid as place_of, t.created, t.replaced_by from @.tasks t where t.id = k.task limit 1) t
			where a.replaces = 1 and a.left_out is not true and (a.n in (select unnest(done))) is not true
				-- Otherwise the new task exists already.
				and (select true from @.tasks t where t.id = a.id limit 1) is null
		), wanted as materialized (
			select * from asked where last and replaced_by is distinct from id
		), from_ready as (
			delete from @.ready where ctid = any (array(
				select q.ctid from wanted a, lateral (select q.ctid from @.ready q where q.created = a.created and q.id = a.task and (q.start_before is null or q.start_before > now()) limit 1 for update skip locked) q
			)) returning created, id, route, queued, kind, queue, key, concurrency_key, last_run, runs, interruptions, crashes, since
		), from_delayed as (
			delete from @.delayed where ctid = any (array(
				select q.ctid from wanted a, lateral (select q.ctid from @.delayed q where q.created = a.created and q.id = a.task and (q.start_before is null or q.start_before > now()) limit 1 for update skip locked) q
			)) returning created, id, route, queued, kind, queue, key, concurrency_key, last_run, runs, interruptions, crashes, since
		), waited as materialized (
			select * from from_ready union all select * from from_delayed
		), moved as materialized ( -- the full join is as in FinishRuns
			select w.*, a.place_of, a.id as by, coalesce(a.priority, 0) as priority, a.payload, a.meta::jsonb as meta,
				case when a.delay > 0 then now() + a.delay * interval '1 microsecond' end as run_at,
				case when a.start_before > 0 and w.runs is null then now() + a.start_before * interval '1 microsecond' end as start_before
			from waited w full join wanted a on a.task = w.id where case when w.id is null then false else true end
		), changed as (
			update @.tasks t set payload = m.payload, meta = m.meta, priority = m.priority, run_at = m.run_at, start_before = m.start_before,
				first_hash = coalesce(t.first_hash, sha256(t.payload)), replaced_by = m.by
			from moved m where t.ctid = m.place_of
		), checkpoints_gone as (
			delete from @.checkpoints where task = any (array(select m.id from moved m where m.runs is not null))
		), into_ready as (
			insert into @.ready (created, id, route, sort_priority, kind, queue, key, concurrency_key, payload, last_run, runs, interruptions, crashes, since, start_before)
			select created, id, route, ~priority, kind, queue, key, concurrency_key, case when meta is null and length(payload) <= inline then payload end,
				last_run, runs, interruptions, crashes, case when queued then since else now() end, start_before
			from moved where run_at is null
		), into_delayed as (
			insert into @.delayed (created, id, run_at, route, sort_priority, kind, queue, key, concurrency_key, last_run, runs, interruptions, crashes, since, start_before)
			select created, id, run_at, route, ~priority, kind, queue, key, concurrency_key,
				last_run, runs, interruptions, crashes, case when queued then since else now() end, start_before
			from moved where run_at is not null
		), counted as (
			insert into @.counts (kind, queue, status, delta) select kind, queue, 'interrupted', -count(*) from moved where not queued group by kind, queue
		)
		select array(select a.n from asked a where (a.task in (select m.id from moved m union all select d.task from asked d where d.last and d.replaced_by = d.id)) is true),
			array(select a.n from asked a where (a.task in (
				select w.task from wanted w where (w.task in (select m.id from moved m)) is not true
					and coalesce((select true from @.ready q where q.created = w.created and q.id = w.task limit 1),
						(select true from @.delayed q where q.created = w.created and q.id = w.task limit 1), false)
			)) is true)
		into more, stuck;
		done := done || more;
		exit when stuck = '{}' or clock_timestamp() > patience;
		perform pg_sleep(0.001);
	end loop;
end $$;

-- For your own SQL: every task as it is. docs/sql.md describes the columns. All other tables are
-- private, and change from one version to the next.
--
-- The view is quick with a condition on what a task is (id, kind, queue, key, created), which is
-- looked up in tasks, and with one on the status, which decides the table. For this the parts of
-- the union have no conditions, and tasks are joined by both columns, so that either side can give
-- the order of created. Both columns identify the same task, but the planner takes them for
-- independent conditions. So it expects hardly a row of the join, and then reads all tables to the
-- end. With few distinct values of created it expects more rows. 200 is what it assumes for the
-- union in any case.
alter table @.tasks alter column created set (n_distinct = 200);
create view @.task_records as
select t.id, t.kind, t.queue, t.key, t.meta, t.priority, s.status, s.reason, coalesce(s.error, l.error) as error, t.created,
	coalesce(s.since, t.created) as since, coalesce(s.run_at, t.run_at) as run_at, coalesce(s.started, l.started) as started, s.finished,
	s.run, coalesce(s.runs, 0) as runs,
	coalesce(case when s.status = 'running' and k.run = s.run then k.attempts else s.attempts end, 0) as attempts,
	coalesce(case when s.status = 'running' and k.run = s.run then k.interruptions else s.interruptions end, 0) as interruptions,
	coalesce(case when s.status = 'running' and k.run = s.run then k.crashes else s.crashes end, 0) as crashes,
	w.id as worker, w.host, coalesce(s.fraction, k.fraction) as fraction, coalesce(s.message, k.message) as message,
	length(k.body) as checkpoint_size, case when k.body is not null then k.saved end as checkpoint_saved, t.payload, s.result
from (
	select task as id, created, status, reason, error, ended as since, null::timestamptz as run_at, started, ended as finished,
		run, case when started is null then run end as last_run, runs, attempts, interruptions, crashes, worker, fraction, message, result
	from @.ended
	union all
	select task, created, 'running', reason, null, started, null, started, null,
		run, last_run, runs, attempts, interruptions, crashes, worker, null, null, null
	from @.running
	union all
	select id, created, status, reason, null, since, run_at, null, null,
		last_run, last_run, runs, attempts, interruptions, crashes, null, null, null, null
	from @.ready
	union all
	select id, created, status, reason, null, since, run_at, null, null,
		last_run, last_run, runs, attempts, interruptions, crashes, null, null, null, null
	from @.delayed
) s
join @.tasks t on t.created = s.created and t.id = s.id
-- The last run before; also for a task that was cancelled while it waited.
left join @.runs l on l.task = s.id and l.run = s.last_run
left join @.checkpoints k on k.task = s.id and k.step = ''
left join @.workers w on w.worker = coalesce(s.worker, l.worker);
