-- name: Claim
-- Moves tasks from ready to running. It locks the worker's row first, in a mode for which beats do
-- not wait: a process that marks the worker dead waits for its claims, and sees what they took.
-- Each route is read in the order of the index, from where the last claim ended. A row is locked
-- before it is deleted, and skipped if it is locked, so claims do not wait for each other. Suspects
-- are picked separately, by their own indexes: the first of all, or those of a group.
with claimer as materialized (
	select worker, floor(extract(epoch from now())::numeric * 1000::numeric)::bigint as clock from @.workers
	where worker = $1 and gone is null and not dead and epoch <= $2 for key share
), wanted as materialized (
	select w.* from (
		select unnest($6::bigint[]) as route, unnest($7::text[]) as kind, unnest($8::text[]) as queue, unnest($9::bigint[]) as most,
			unnest($10::integer[]) as sort_priority, unnest($11::boolean[]) as queued, unnest($12::timestamptz[]) as run_at, unnest($13::uuid[]) as id,
			unnest($14::integer[]) as max_attempts, unnest($15::integer[]) as max_crashes, unnest($16::integer[]) as max_interruptions,
			unnest($18::bigint[]) as keep_succeeded, unnest($19::bigint[]) as keep_failed, unnest($20::bigint[]) as keep_cancelled
	) w where (w.queue in (select queue from @.paused)) is not true
), suspect as materialized (
	(select s.*, w.kind from claimer, wanted w, lateral (
		select q.ctid, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where q.suspicion is not null and q.route = w.route and q.kind = w.kind and q.queue = w.queue and q.id <> all ($5::uuid[])
		order by q.sort_priority, q.queued, q.run_at, q.id limit 1 for update skip locked
	) s where $4::bigint > 0 and $17::bigint is null and (select true from @.ready q where q.suspicion is not null limit 1)
	order by s.sort_priority, s.queued, s.run_at, s.id limit 1)
	union all
	(select s.*, w.kind from claimer, wanted w, lateral (
		select q.ctid, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where q.suspicion = $17::bigint and q.route = w.route and q.kind = w.kind and q.queue = w.queue and q.id <> all ($5::uuid[])
		order by q.sort_priority, q.queued, q.run_at, q.id limit $4::bigint for update skip locked
	) s where $17::bigint is not null
	order by s.sort_priority, s.queued, s.run_at, s.id limit $4::bigint)
), picked as (
	delete from @.ready where ctid = any (array(
		select m.ctid from (
			select r.* from (select kind, max(most) as most from wanted group by kind) k, lateral (
				select r.* from claimer, wanted w, lateral (
					select q.ctid, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
					where q.suspicion is null and q.route = w.route and q.kind = w.kind and q.queue = w.queue and (q.start_before is null or q.start_before > now())
						and (q.sort_priority, q.queued, q.run_at, q.id) >= (w.sort_priority, w.queued, w.run_at, w.id) and q.id <> all ($5::uuid[])
					order by q.sort_priority, q.queued, q.run_at, q.id limit w.most for update skip locked
				) r where w.kind = k.kind
				union all
				select s.ctid, s.sort_priority, s.queued, s.run_at, s.id from suspect s where s.kind = k.kind
				order by sort_priority, queued, run_at, id limit k.most
			) r
		) m order by m.sort_priority, m.queued, m.run_at, m.id limit $3
	)) returning *
), begun as (
	insert into @.running (task, run, worker, created, route, sort_priority, suspicion, max_attempts, max_crashes, max_interruptions,
		keep_succeeded, keep_failed, keep_cancelled, runs, last_run,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, kind, queue, key, concurrency_key, reason)
	select p.id, greatest(p.last_run + 1, c.clock), c.worker, p.created, p.route, p.sort_priority, p.suspicion, w.max_attempts, w.max_crashes, w.max_interruptions,
		w.keep_succeeded, w.keep_failed, w.keep_cancelled,
		coalesce(p.runs, 0) + 1, p.last_run, p.attempts, p.interruptions, p.crashes, p.crash_streak, p.interrupt_streak, p.kind, p.queue, p.key, p.concurrency_key, p.reason
	-- As in FinishRuns.
	from picked p full join wanted w on w.route = p.route, claimer c where case when p.id is null then false else true end
), counted as (
	insert into @.counts (kind, queue, status, delta)
	select kind, queue, 'interrupted', -count(*) from picked where not queued group by kind, queue
)
select c.clock, now(), a.*, b.* from claimer c, (
	select array_agg(p.id), array_agg(p.route), array_agg(p.sort_priority), array_agg(p.queued), array_agg(p.run_at), array_agg(p.created),
		array_agg(coalesce(p.key, '')), array_agg(coalesce(p.payload, t.payload)),
		array_agg(p.id) filter (where t.meta is not null), array_agg(t.meta::text) filter (where t.meta is not null)
	from picked p
	left join lateral (select t.payload, t.meta from @.tasks t where t.id = case when p.payload is null then p.id end limit 1) t on true
) a, ( -- the tasks that have run before
	select array_agg(p.id), array_agg(coalesce(p.last_run, 0)), array_agg(p.runs), array_agg(coalesce(p.attempts, 0)), array_agg(coalesce(p.interruptions, 0)),
		array_agg(coalesce(p.crashes, 0)), array_agg(coalesce(p.crash_streak, 0)), array_agg(coalesce(p.interrupt_streak, 0)), array_agg(coalesce(p.suspicion, 0)), array_agg(coalesce(p.reason, '')),
		array_agg(coalesce(l.error, '')), array_agg(k.body), array_agg(coalesce(k.fraction, 0)), array_agg(coalesce(k.message, ''))
	from picked p
	left join lateral (select r.error from @.runs r where r.task = p.id and r.run = p.last_run limit 1) l on true
	left join lateral (select k.body, k.fraction, k.message from @.checkpoints k where k.task = p.id and k.step = '' limit 1) k on true
	where p.runs is not null
) b

-- name: Poll
-- Finds routes with something to claim. The first row of the answer reports whether the worker may
-- claim, in how many microseconds the next delay runs out or the next task expires, whether the
-- session of another worker is gone (if $3 asks for that), and whether tasks have expired. The
-- other rows are the routes, each with the position of its first task. The statement jumps from
-- each route to the next one in the index, within pieces of the index that begin at a position. For
-- suspects, all or those of a group, it does so in their own indexes. It writes nothing.
with recursive piece as materialized (
	select unnest($4::bigint[]) as first, unnest($5::bigint[]) as last, unnest($6::integer[]) as sort_priority, unnest($7::boolean[]) as queued,
		unnest($8::timestamptz[]) as run_at, unnest($9::uuid[]) as id
), found as (
	select q.*, p.last from piece p, lateral (
		select q.route, q.kind, q.queue, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where q.suspicion is null and (q.route, q.sort_priority, q.queued, q.run_at, q.id) >= (p.first, p.sort_priority, p.queued, p.run_at, p.id) and q.route <= p.last
			and (q.start_before is null or q.start_before > now())
		order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1
	) q
	union all
	select q.*, f.last from found f, lateral (
		select q.route, q.kind, q.queue, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where f.route < f.last and q.suspicion is null and q.route > f.route and q.route <= f.last and (q.start_before is null or q.start_before > now())
		order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1
	) q
), suspects as (
	select q.*, p.last from piece p, lateral (
		select q.route, q.kind, q.queue, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where q.suspicion is not null and q.route >= p.first and q.route <= p.last
		order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1
	) q where $10 and (select true from @.ready q where q.suspicion is not null limit 1)
	union all
	select q.*, f.last from suspects f, lateral (
		select q.route, q.kind, q.queue, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where f.route < f.last and q.suspicion is not null and q.route > f.route and q.route <= f.last
		order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1
	) q
), grouped as (
	select q.*, p.last from piece p, lateral (
		select q.route, q.kind, q.queue, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where q.suspicion = $11::bigint and q.route >= p.first and q.route <= p.last
		order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1
	) q where $11::bigint is not null
	union all
	select q.*, f.last from grouped f, lateral (
		select q.route, q.kind, q.queue, q.sort_priority, q.queued, q.run_at, q.id from @.ready q
		where f.route < f.last and q.suspicion = $11::bigint and q.route > f.route and q.route <= f.last
		order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1
	) q
)
select exists (select 1 from @.workers where worker = $1 and gone is null and not dead),
	coalesce((select floor(extract(epoch from least((select min(run_at) from @.delayed), (select min(start_before) from @.ready where start_before is not null),
		(select min(start_before) from @.delayed where start_before is not null)) - now())::numeric * 1000000::numeric)::bigint), $2),
	case when $3 then exists (select 1 from @.workers w where w.worker <> $1 and w.gone is null and not w.dead and w.state <> 'stopped'
		and w.boot = pg_postmaster_start_time()
		and not exists (select 1 from pg_stat_get_activity(null) a where a.application_name = w.session and a.usesysid = w.role)) else false end,
	null::bigint, null, null, null::integer,
	exists (select 1 from @.ready where start_before <= now()) or exists (select 1 from @.delayed where start_before <= now()),
	null::timestamptz, null::uuid
union all
select null, null, null, f.route, f.kind, f.queue, f.sort_priority, f.queued, f.run_at, f.id
from (select * from found union all select * from suspects union all select * from grouped) f
where not exists (select 1 from @.paused p where p.queue = f.queue)

-- name: Expire
-- Ends tasks that were not claimed in time, those first whose time was over first. Tasks that
-- another transaction has locked are skipped. The answer is how many were ended.
with from_ready as (
	delete from @.ready where ctid = any (array(
		select ctid from @.ready where start_before <= now() order by start_before limit $1 for update skip locked
	)) returning created, id, kind, queue, key
), from_delayed as (
	delete from @.delayed where ctid = any (array(
		select ctid from @.delayed where start_before <= now() order by start_before limit $1 for update skip locked
	)) returning created, id, kind, queue, key
), waited as materialized (
	select * from from_ready union all select * from from_delayed
), into_ended as (
	insert into @.ended (created, task, status, reason, kind, queue) select created, id, 'cancelled', 'expired', kind, queue from waited
), key_rows as materialized (
	select k.ctid as place, coalesce(k.until > now(), false) as kept from waited w, lateral (
		select k.ctid, k.until from @.keys k where k.kind = w.kind and k.key = w.key and k.task = w.id limit 1
	) k where w.key is not null
), keys_released as (
	delete from @.keys where ctid = any (array(select place from key_rows where not kept))
), keys_kept as (
	update @.keys set ended = true where ctid = any (array(select place from key_rows where kept))
), counted as (
	insert into @.counts (kind, queue, status, delta) select kind, queue, 'cancelled', count(*) from waited group by kind, queue
)
select count(*) from waited

-- name: Promote
-- Moves tasks whose time has come to ready, the most urgent first.
with recursive priority as (
	(select sort_priority from @.delayed order by sort_priority limit 1)
	union all
	select n.sort_priority from priority p, lateral (
		select d.sort_priority from @.delayed d where d.sort_priority > p.sort_priority order by d.sort_priority limit 1
	) n
), due as (
	delete from @.delayed where ctid = any (array(
		select d.ctid from priority p, lateral (
			select d.ctid from @.delayed d where d.sort_priority = p.sort_priority and d.run_at <= now()
			order by d.run_at limit $1 for update skip locked
		) d limit $1
	)) returning *
)
insert into @.ready (created, id, run_at, route, sort_priority, queued, suspicion, kind, queue, key, concurrency_key, payload, last_run, runs,
	attempts, interruptions, crashes, crash_streak, interrupt_streak, since, reason, start_before)
select created, id, run_at, route, sort_priority, queued, suspicion, kind, queue, key, concurrency_key, payload, last_run, runs,
	attempts, interruptions, crashes, crash_streak, interrupt_streak, since, reason, start_before
from due
