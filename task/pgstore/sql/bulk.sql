-- Commands to many tasks, each of which must be as it was listed: $1 to $3 are the ids, the times
-- of creation, and the times since when each task has been in its state. Rows that another
-- transaction has locked are skipped. The answers are the tasks for which the command was done.

-- name: CommandRuns
with seen as materialized (
	select unnest($1::uuid[]) as id, unnest($2::timestamptz[]) as created, unnest($3::timestamptz[]) as since
), asked as (
	update @.running set command = case when command = 'cancel' then command else $7 end where ctid = any (array(
		select r.place from seen s, lateral (
			select r.ctid as place from @.running r where r.task = s.id and r.started = s.since limit 1 for no key update skip locked
		) r
	)) returning task
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select task, $7, nullif($4, ''), nullif($5, '') from asked on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from asked m, lateral (select c.ctid from @.commands c where c.task = m.task order by c.at desc offset $6 - 1) c
	))
)
select array(select task from asked)

-- name: CancelAllWaiting
with seen as materialized (
	select unnest($1::uuid[]) as id, unnest($2::timestamptz[]) as created, unnest($3::timestamptz[]) as since
), from_ready as (
	delete from @.ready where ctid = any (array(
		select q.place from seen s, lateral (
			select q.ctid as place from @.ready q where q.created = s.created and q.id = s.id and coalesce(q.since, q.created) = s.since limit 1 for update skip locked
		) q
	)) returning *
), from_delayed as (
	delete from @.delayed where ctid = any (array(
		select q.place from seen s, lateral (
			select q.ctid as place from @.delayed q where q.created = s.created and q.id = s.id and coalesce(q.since, q.created) = s.since limit 1 for update skip locked
		) q
	)) returning *
), waited as materialized (
	select * from from_ready union all select * from from_delayed
), into_ended as (
	insert into @.ended (created, task, run, runs, attempts, interruptions, crashes, crash_streak, interrupt_streak, status, kind, queue, reason)
	select created, id, last_run, runs, attempts, interruptions, crashes, crash_streak, interrupt_streak, 'cancelled', kind, queue,
		case when start_before <= now() then 'expired' end from waited
), key_rows as materialized (
	select k.ctid as place, coalesce(k.until > now(), false) as kept from waited w, lateral (
		select k.ctid, k.until from @.keys k where k.kind = w.kind and k.key = w.key and k.task = w.id limit 1
	) k
), keys_released as (
	delete from @.keys where ctid = any (array(select place from key_rows where not kept))
), keys_kept as (
	update @.keys set ended = true where ctid = any (array(select place from key_rows where kept))
), counted as (
	insert into @.counts (kind, queue, status, delta)
	select kind, queue, 'cancelled', count(*) from waited group by kind, queue
	union all
	select kind, queue, 'interrupted', -count(*) from waited where not queued group by kind, queue
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select id, 'cancel', nullif($4, ''), nullif($5, '') from waited on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from waited m, lateral (select c.ctid from @.commands c where c.task = m.id order by c.at desc offset $6 - 1) c
	))
)
select array(select id from waited)

-- name: RetryAllWaiting
-- The second answer is the least sort_priority of the tasks. An interrupted task comes before all
-- queued ones of its priority.
with seen as materialized (
	select unnest($1::uuid[]) as id, unnest($2::timestamptz[]) as created, unnest($3::timestamptz[]) as since
), from_ready as (
	delete from @.ready where ctid = any (array(
		select q.place from seen s, lateral (
			select q.ctid as place from @.ready q where q.created = s.created and q.id = s.id and coalesce(q.since, q.created) = s.since limit 1 for update skip locked
		) q
	)) returning *
), from_delayed as (
	delete from @.delayed where ctid = any (array(
		select q.place from seen s, lateral (
			select q.ctid as place from @.delayed q where q.created = s.created and q.id = s.id and coalesce(q.since, q.created) = s.since limit 1 for update skip locked
		) q
	)) returning *
), waited as materialized (
	select * from from_ready union all select * from from_delayed
), into_ready as (
	insert into @.ready (created, id, route, sort_priority, queued, kind, queue, key, concurrency_key, payload, last_run, runs, interruptions, crashes, since, reason, start_before)
	select created, id, route, sort_priority, queued, kind, queue, key, concurrency_key, payload, last_run, runs, interruptions, crashes, since, reason,
		case when start_before > now() then start_before end from waited
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select id, 'retry', nullif($4, ''), nullif($5, '') from waited on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from waited m, lateral (select c.ctid from @.commands c where c.task = m.id order by c.at desc offset $6 - 1) c
	))
)
select array(select id from waited), (select min(sort_priority::bigint - case when queued then 0 else 1 end) from waited)

-- name: RetryAllEnded
-- The second answer is the least sort_priority of the tasks, the third one the tasks whose keys
-- other tasks have.
with seen as materialized (
	select unnest($1::uuid[]) as id, unnest($2::timestamptz[]) as created, unnest($3::timestamptz[]) as since
), locked as materialized (
	select e.* from seen s, lateral (
		select e.ctid as place, e.created, e.task, e.run, e.worker, e.started, e.ended, e.crashed, e.reclaimed, e.status, e.error, e.fraction, e.message, e.log,
			e.runs, e.interruptions, e.crashes, e.kind, e.queue
		from @.ended e where e.created = s.created and e.task = s.id and e.ended = s.since and e.status in ('failed', 'cancelled') limit 1 for update skip locked
	) e
), keyed as materialized (
	select l.*, t.route, t.priority, t.key, t.concurrency_key
	from locked l, lateral (select t.route, t.priority, t.key, t.concurrency_key from @.tasks t where t.id = l.task limit 1) t
), key_taken as (
	-- of several tasks with the same key, the one that still has it, or else the first
	insert into @.keys as k (kind, key, task)
	select distinct on (a.kind, a.key) a.kind, a.key, a.task from keyed a
	left join lateral (select k.task from @.keys k where k.kind = a.kind and k.key = a.key limit 1) h on true
	where a.key is not null order by a.kind, a.key, (h.task = a.task) is true desc, a.task
	on conflict (kind, key) do update set task = excluded.task, until = case when k.task = excluded.task then k.until end, ended = false
	where k.task = excluded.task or k.ended and k.until <= now() returning task
), again as materialized (
	-- In the order of the indexes.
	select * from keyed k where k.key is null or k.task in (select task from key_taken) order by k.created, k.task
), gone as (
	delete from @.ended where ctid = any (array(select place from again))
), into_history as (
	insert into @.runs (task, run, worker, started, ended, crashed, reclaimed, status, error)
	select task, run, worker, started, ended, crashed, reclaimed, status, error from again where started is not null
), saved as (
	insert into @.checkpoints as k (task, run, fraction, message) select task, coalesce(run, 0), fraction, message from again where fraction is not null
	on conflict (task, step) do update set fraction = excluded.fraction, message = excluded.message
), logged as (
	insert into @.logs as l (task, body) select task, log from again where log is not null
	on conflict (task) do update set body = l.body || excluded.body
), into_ready as (
	insert into @.ready (created, id, route, sort_priority, kind, queue, key, concurrency_key, last_run, runs, interruptions, crashes, since)
	select created, task, route, ~priority, kind, queue, key, concurrency_key, run, runs, interruptions, crashes, now() from again
), counted as (
	insert into @.counts (kind, queue, status, delta) select kind, queue, status, -count(*) from again group by kind, queue, status
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select task, 'retry', nullif($4, ''), nullif($5, '') from again on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from again m, lateral (select c.ctid from @.commands c where c.task = m.task order by c.at desc offset $6 - 1) c
	))
)
select array(select task from again), (select min(~priority)::bigint from again), array(select task from keyed where key is not null and task not in (select task from key_taken))

-- name: DeleteAllEnded
with seen as materialized (
	select unnest($1::uuid[]) as id, unnest($2::timestamptz[]) as created, unnest($3::timestamptz[]) as since
), locked as materialized (
	select e.place, e.task, s.created from seen s, lateral (
		select e.ctid as place, e.task from @.ended e where e.created = s.created and e.task = s.id and e.ended = s.since limit 1 for update skip locked
	) e
), gone as (
	delete from @.ended where ctid = any (array(select place from locked)) returning task, kind, queue, status
), keys_gone as (
	delete from @.keys where ctid = any (array(
		select k.ctid from gone g, lateral (select t.key from @.tasks t where t.id = g.task limit 1) t,
			lateral (select k.ctid from @.keys k where k.kind = g.kind and k.key = t.key and k.task = g.task limit 1) k
	))
), tasks_gone as (
	delete from @.tasks where id = any (array(select task from gone))
), runs_gone as (
	delete from @.runs where task = any (array(select task from gone))
), checkpoints_gone as (
	delete from @.checkpoints where task = any (array(select task from gone))
), logs_gone as (
	delete from @.logs where task = any (array(select task from gone))
), commands_gone as (
	delete from @.commands where task = any (array(select task from gone))
), counted as (
	insert into @.counts (kind, queue, status, delta)
	select kind, queue, s.status, -count(*) from gone g, lateral (select g.status union all select 'added') s group by kind, queue, s.status
)
select array(select task from gone)
