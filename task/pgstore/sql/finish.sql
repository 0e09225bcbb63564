-- name: FinishRuns
-- Ends runs, whatever they leave. The runs are locked first, in the order of the ids of their
-- tasks. Runs that another transaction has locked are skipped, and ended one by one later. The
-- deleted row of running is the guard, and has the command to the run. No other table is joined to
-- the deletion: that would carry whole rows of it along. The answer is the tasks whose runs were
-- ended, or no row if all were. A column of the arguments is null if all changes have the default.
with changes as materialized (
	select unnest($1::uuid[]) as task, unnest($2::bigint[]) as run, unnest($3::uuid[]) as worker, unnest($4::text[]) as status, unnest($5::text[]) as reason,
		unnest($6::text[]) as error, unnest($7::bigint[]) as delay, unnest($8::boolean[]) as crashed, unnest($9::boolean[]) as reclaimed, unnest($10::bigint[]) as suspicion,
		unnest($11::bytea[]) as result, unnest($12::integer[]) as attempts, unnest($13::integer[]) as interruptions, unnest($14::integer[]) as crashes,
		unnest($15::integer[]) as crash_streak, unnest($16::integer[]) as interrupt_streak,
		unnest($17::bytea[]) as checkpoint, unnest($18::double precision[]) as fraction, unnest($19::text[]) as message, unnest($20::bytea[]) as log,
		unnest($23::timestamptz[]) as run_at
), deleted as (
	delete from @.running where ctid = any (array(
		select ctid from @.running where task = any ($1::uuid[])
			and ((task, run, worker) in (select unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::uuid[]))) is true
		order by task for update skip locked
	)) returning task, started, created, route, sort_priority, kind, queue, key, concurrency_key, runs, command, keep_succeeded, keep_failed, keep_cancelled
), outcome as materialized (
	select case when d.command = 'cancel' and c.status in ('queued', 'interrupted') then 'cancelled' else c.status end as status,
		-- The columns that are read for every run come first.
		d.key, c.checkpoint, nullif(c.fraction, '-1'::double precision) as fraction, c.log, d.kind, d.queue, d.task, c.run, c.worker, d.started, d.created, d.runs,
		nullif(c.attempts, 0) as attempts, nullif(c.interruptions, 0) as interruptions, nullif(c.crashes, 0) as crashes,
		nullif(c.crash_streak, 0) as crash_streak, nullif(c.interrupt_streak, 0) as interrupt_streak,
		nullif(c.crashed, false) as crashed, nullif(c.reclaimed, false) as reclaimed, nullif(c.error, '') as error, nullif(c.message, '') as message, c.result,
		case when d.command <> 'cancel' or d.command is null then nullif(c.reason, '') end as reason,
		case when c.status = 'succeeded' then d.keep_succeeded when c.status = 'failed' then d.keep_failed else d.keep_cancelled end as keep,
		coalesce(c.delay, 0) as delay, c.run_at as given_back, nullif(c.suspicion, 0) as suspicion, d.route, d.sort_priority, d.concurrency_key
	-- A full join is always done by hashing or sorting. For another join of lists, of which it expects
	-- one row each, the planner might compare every row with every other.
	from deleted d full join changes c on c.task = d.task where case when d.task is null then false else true end
), grouped as materialized (
	select kind, queue, status, count(*) as n from outcome group by kind, queue, status
), special as materialized ( -- runs that leave more than a row in ended
	select * from outcome where status not in ('succeeded', 'failed', 'cancelled') or checkpoint is not null or key is not null
), into_ended as (
	insert into @.ended (created, task, expires, started, run, worker, runs, attempts, interruptions, crashes, crash_streak, interrupt_streak,
		crashed, reclaimed, fraction, status, kind, queue, error, message, result, log)
	select created, task, case when keep < 0 then 'infinity' when keep is not null then now() + keep::double precision * interval '1 microsecond' end,
		started, run, worker, runs, attempts, interruptions, crashes, crash_streak, interrupt_streak,
		crashed, reclaimed, fraction, status, kind, queue, error, message, case when status = 'succeeded' then result end, log
	from outcome where status in ('succeeded', 'failed', 'cancelled')
), again as materialized (
	select *, coalesce(given_back, now() + delay::double precision * interval '1 microsecond') as run_at from special where status in ('queued', 'interrupted')
), into_history as (
	insert into @.runs (task, run, worker, started, ended, crashed, reclaimed, status, reason, error)
	select task, run, worker, started, now(), crashed, reclaimed, status, reason, error from again
), history_trimmed as (
	delete from @.runs where ctid = any (array(
		select h.ctid from again a, lateral (
			select h.ctid from @.runs h where h.task = a.task order by h.run desc offset $21 - 1
		) h where a.runs >= $21
	))
), into_ready as (
	insert into @.ready (created, id, run_at, route, sort_priority, queued, suspicion, kind, queue, key, concurrency_key, last_run, runs,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, since, reason)
	select created, task, run_at, route, sort_priority, status = 'queued', suspicion, kind, queue, key, concurrency_key, run, runs,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, now(), reason
	from again where run_at <= now()
), into_delayed as (
	insert into @.delayed (created, id, run_at, route, sort_priority, queued, suspicion, kind, queue, key, concurrency_key, last_run, runs,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, since, reason)
	select created, task, run_at, route, sort_priority, status = 'queued', suspicion, kind, queue, key, concurrency_key, run, runs,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, now(), reason
	from again where run_at > now()
), saved as (
	insert into @.checkpoints as k (task, run, attempts, interruptions, crashes, crash_streak, interrupt_streak, fraction, message, body)
	select task, run, attempts, interruptions, crashes, crash_streak, interrupt_streak, fraction, message, checkpoint
	from special where checkpoint is not null
	union all
	select task, run, attempts, interruptions, crashes, crash_streak, interrupt_streak, fraction, message, null from again where checkpoint is null and fraction is not null
	on conflict (task, step) do update set run = excluded.run, saved = case when excluded.body is null then k.saved else excluded.saved end,
		attempts = excluded.attempts, interruptions = excluded.interruptions, crashes = excluded.crashes,
		crash_streak = excluded.crash_streak, interrupt_streak = excluded.interrupt_streak,
		fraction = coalesce(excluded.fraction, k.fraction), message = case when excluded.fraction is null then k.message else excluded.message end, body = coalesce(excluded.body, k.body)
), logged as (
	insert into @.logs as l (task, body) select task, log from again where log is not null
	on conflict (task) do update set body = substring(l.body || excluded.body from greatest(length(l.body || excluded.body) - $22 + 1, 1))
), key_rows as materialized (
	select k.ctid as place, coalesce(k.until > now(), false) as kept from special o, lateral (
		select k.ctid, k.until from @.keys k where k.kind = o.kind and k.key = o.key and k.task = o.task limit 1
	) k where o.key is not null and o.status in ('succeeded', 'failed', 'cancelled')
), keys_released as (
	delete from @.keys where ctid = any (array(select place from key_rows where not kept))
), keys_kept as (
	update @.keys set ended = true where ctid = any (array(select place from key_rows where kept))
), counted as (
	insert into @.counts (kind, queue, status, delta)
	select kind, queue, status, n from grouped where status <> 'queued'
)
select (select array_agg(task) from outcome) from grouped having coalesce(sum(n), 0)::bigint < cardinality($1::uuid[])

-- name: Verdicts
-- Reports, for changes that were not written, whether the task exists, whether the run still goes
-- on, and how it ended.
select t.id is not null, r.task is not null, coalesce(x.status, ''), coalesce(x.reason, ''), coalesce(x.reclaimed, false)
from rows from (unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::uuid[])) with ordinality as c(task, run, worker, n)
left join lateral (select t.id, t.created from @.tasks t where t.id = c.task limit 1) t on true
left join lateral (select r.task from @.running r where r.task = c.task and r.run = c.run and r.worker = c.worker limit 1) r on true
left join lateral (
	(select h.status, h.reason, h.reclaimed from @.runs h where h.task = c.task and h.run = c.run and h.worker = c.worker limit 1)
	union all
	(select e.status, null, e.reclaimed from @.ended e where e.created = t.created and e.task = c.task and e.run = c.run and e.worker = c.worker and e.started is not null limit 1)
	limit 1
) x on true
order by c.n

-- name: Poison
-- Makes a transaction impossible to commit.
do $$ begin raise exception 'lastcall: the run is no longer held, nothing of this transaction may be committed'; end $$
