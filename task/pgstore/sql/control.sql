-- name: Pause
insert into @.paused (queue) values ($1) on conflict do nothing

-- name: Resume
delete from @.paused where queue = $1

-- name: AwaitClaims
-- Waits for the claims that have locked the rows of their workers.
select count(*) from (select worker from @.workers where gone is null and not dead order by worker for update) w

-- name: OldClaims
-- Counts the claims that were sent before a time and are still in progress, as far as this role may
-- see them, and returns the server's time. The snapshot of a claim that has not yet locked its
-- worker's row may be older than a pause that has been committed since.
select count(*), clock_timestamp() from pg_stat_get_activity(null) a
where a.state = 'active' and a.query_start <= $1::timestamptz and a.query like '%with claimer as materialized%' and a.pid <> pg_backend_pid()

-- name: InterruptQueue
-- Stores the command to interrupt in each run of a queue. Runs that another transaction has locked
-- are skipped. The answer is the tasks of the skipped runs, or no row if there are none.
with asked as (
	update @.running set command = 'interrupt' where ctid = any (array(
		select ctid from @.running where queue = $1 and command is null order by task for no key update skip locked
	)) returning task
)
select array_agg(task) from @.running where queue = $1 and command is null and task <> all (array(select task from asked)) having count(*) > 0

-- name: CommandRun
-- Stores a command in the row of a task's run. A cancellation is not replaced by an interruption.
with asked as (
	update @.running set command = case when command = 'cancel' then command else $2 end where task = $1 returning task
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select task, $2, nullif($3, ''), nullif($4, '') from asked on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from asked m, lateral (select c.ctid from @.commands c where c.task = m.task order by c.at desc offset $5 - 1) c
	))
)
select count(*) from asked

-- name: CancelWaiting
-- Ends a waiting task.
with from_ready as (
	delete from @.ready where created = (select created from @.tasks where id = $1) and id = $1 returning *
), from_delayed as (
	delete from @.delayed where created = (select created from @.tasks where id = $1) and id = $1 returning *
), waited as (
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
	select kind, queue, 'cancelled', 1 from waited union all select kind, queue, 'interrupted', -1 from waited where not queued
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select id, $2, nullif($3, ''), nullif($4, '') from waited on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from waited m, lateral (select c.ctid from @.commands c where c.task = m.id order by c.at desc offset $5 - 1) c
	))
)
select count(*) from waited

-- name: RetryWaiting
-- Makes a waiting task claimable now, if wanted from the start, and without the steps that are to
-- be skipped.
with from_ready as (
	delete from @.ready where created = (select created from @.tasks where id = $1) and id = $1 returning *
), from_delayed as (
	delete from @.delayed where created = (select created from @.tasks where id = $1) and id = $1 returning *
), waited as (
	select * from from_ready union all select * from from_delayed
), into_ready as (
	insert into @.ready (created, id, route, sort_priority, queued, kind, queue, key, concurrency_key, payload, last_run, runs, interruptions, crashes, since, reason, start_before)
	select created, id, route, sort_priority, queued, kind, queue, key, concurrency_key, payload, last_run, runs, interruptions, crashes, since, reason,
		case when start_before > now() then start_before end from waited
), steps_gone as (
	delete from @.checkpoints where $6::boolean and task = (select id from waited) and not (step = any ($7::text[]))
), skipped as (
	insert into @.checkpoints as k (task, step, run, state) select a.id, n.name, 0, 'skipped' from waited a, (select distinct unnest($7::text[]) as name) n
	on conflict (task, step) do update set run = 0, saved = excluded.saved, body = null, place = null, state = excluded.state, version = null where $6 or k.state <> 'done'
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select id, $2, nullif($3, ''), nullif($4, '') from waited on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from waited m, lateral (select c.ctid from @.commands c where c.task = m.id order by c.at desc offset $5 - 1) c
	))
)
select count(*) from waited

-- name: RetryEnded
-- Makes a failed or cancelled task claimable again, as RetryWaiting does. The answer is whether
-- there was one, and whether it was moved: it is not moved if another task has its key. A task
-- whose KeyFor is not over still has its key.
with t as materialized (
	select * from @.tasks where id = $1
), e as materialized (
	select * from @.ended where created = (select created from t) and task = $1 and status in ('failed', 'cancelled') for update
), key_taken as (
	insert into @.keys as k (kind, key, task) select t.kind, t.key, t.id from t, e where t.key is not null
	on conflict (kind, key) do update set task = excluded.task, until = case when k.task = excluded.task then k.until end, ended = false
	where k.task = excluded.task or k.ended and k.until <= now() returning task
), again as materialized (
	select e.* from e, t where t.key is null or exists (select 1 from key_taken)
), gone as (
	delete from @.ended where created = (select created from again) and task = (select task from again)
), into_history as (
	insert into @.runs (task, run, worker, started, ended, crashed, reclaimed, status, error)
	select task, run, worker, started, ended, crashed, reclaimed, status, error from again where started is not null
), saved as (
	insert into @.checkpoints as k (task, run, fraction, message) select task, coalesce(run, 0), fraction, message from again where fraction is not null and not $6::boolean
	on conflict (task, step) do update set fraction = excluded.fraction, message = excluded.message
), logged as (
	insert into @.logs as l (task, body) select task, log from again where log is not null
	on conflict (task) do update set body = l.body || excluded.body
), into_ready as (
	insert into @.ready (created, id, route, sort_priority, kind, queue, key, concurrency_key, last_run, runs, interruptions, crashes, since)
	select t.created, t.id, t.route, ~t.priority, t.kind, t.queue, t.key, t.concurrency_key, a.run, a.runs, a.interruptions, a.crashes, now() from again a, t
), steps_gone as (
	delete from @.checkpoints where $6::boolean and task = (select task from again) and not (step = any ($7::text[]))
), skipped as (
	insert into @.checkpoints as k (task, step, run, state) select a.task, n.name, 0, 'skipped' from again a, (select distinct unnest($7::text[]) as name) n
	on conflict (task, step) do update set run = 0, saved = excluded.saved, body = null, place = null, state = excluded.state, version = null where $6 or k.state <> 'done'
), counted as (
	insert into @.counts (kind, queue, status, delta) select kind, queue, status, -1 from again
), recorded as (
	insert into @.commands (task, verb, asked_by, reason) select task, $2, nullif($3, ''), nullif($4, '') from again on conflict do nothing
), commands_trimmed as (
	delete from @.commands where ctid = any (array(
		select c.ctid from again m, lateral (select c.ctid from @.commands c where c.task = m.task order by c.at desc offset $5 - 1) c
	))
)
select (select count(*) from e), (select count(*) from again)

-- name: DeleteEnded
-- Removes an ended task, with everything that belongs to it, as Prune does.
with gone as (
	delete from @.ended where created = (select created from @.tasks where id = $1) and task = $1 returning task, kind, queue, status
), tasks_gone as (
	delete from @.tasks where id = any (array(select task from gone))
), keys_gone as (
	delete from @.keys where kind = (select kind from gone) and key = (select key from @.tasks where id = $1) and task = $1
), runs_gone as (
	delete from @.runs where task = any (array(select task from gone))
), checkpoints_gone as (
	delete from @.checkpoints where task = any (array(select task from gone))
), logs_gone as (
	delete from @.logs where task = any (array(select task from gone))
), commands_gone as (
	delete from @.commands where task = any (array(select task from gone))
), counted as (
	insert into @.counts (kind, queue, status, delta) select kind, queue, status, -1 from gone union all select kind, queue, 'added', -1 from gone
)
select count(*) from gone

-- name: Place
-- Returns where a task is: its status if it has ended, otherwise running or waiting.
select coalesce(e.status, case when r.task is not null then 'running' else 'waiting' end)
from @.tasks t
left join lateral (select e.status from @.ended e where e.created = t.created and e.task = t.id limit 1) e on true
left join lateral (select r.task from @.running r where r.task = t.id limit 1) r on true
where t.id = $1
