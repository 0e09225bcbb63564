-- name: ReadPicked
-- Reads the tasks whose ids a part named p has picked. The planner expects few elements of an
-- array, so each row is looked up by its key.
select t.id, t.kind, t.queue, coalesce(t.key, ''), t.payload, coalesce(t.meta::text, ''), t.priority,
	case when e.task is not null then e.status when r.task is not null then 'running' when q.queued then 'queued' else 'interrupted' end,
	coalesce(r.reason, q.reason, e.reason, ''), case when e.started is not null then coalesce(e.error, '') else coalesce(l.error, '') end,
	t.created, coalesce(e.ended, r.started, q.since, t.created), coalesce(q.run_at, t.run_at, t.created), coalesce(r.started, e.started, l.started),
	coalesce(r.run, e.run, q.last_run, 0), coalesce(r.runs, e.runs, q.runs, 0), coalesce(w.id, coalesce(r.worker, e.worker, l.worker)::text, ''),
	coalesce(case when k.run = r.run then k.attempts else r.attempts end, e.attempts, q.attempts, 0),
	coalesce(case when k.run = r.run then k.interruptions else r.interruptions end, e.interruptions, q.interruptions, 0),
	coalesce(case when k.run = r.run then k.crashes else r.crashes end, e.crashes, q.crashes, 0),
	coalesce(case when k.run = r.run then k.crash_streak else r.crash_streak end, e.crash_streak, q.crash_streak, 0),
	coalesce(case when k.run = r.run then k.interrupt_streak else r.interrupt_streak end, e.interrupt_streak, q.interrupt_streak, 0),
	coalesce(case when k.run = r.run and k.crash_streak is null then null else r.suspicion end, q.suspicion, 0),
	coalesce(r.max_attempts, 0), coalesce(r.max_crashes, 0), coalesce(r.max_interruptions, 0),
	k.body, coalesce(e.fraction, k.fraction, 0), coalesce(case when e.fraction is null then k.message else e.message end, ''), e.result,
	q.start_before, coalesce(q.start_before <= now(), false)
from (select * from @.tasks where id = any (array(select p.id from p)) offset 0) t
left join lateral (select * from @.ended e where e.created = t.created and e.task = t.id limit 1) e on true
left join lateral (select * from @.running r where r.task = t.id limit 1) r on true
left join lateral (
	(select * from @.ready q where q.created = t.created and q.id = t.id limit 1)
	union all
	(select * from @.delayed q where q.created = t.created and q.id = t.id limit 1)
	limit 1
) q on true
left join lateral (select * from @.checkpoints k where k.task = t.id and k.step = '' limit 1) k on true
left join lateral (
	select * from @.runs l where l.task = t.id and l.run = coalesce(r.last_run, q.last_run, case when e.started is null then e.run end) limit 1
) l on true
left join @.workers w on w.worker = coalesce(r.worker, e.worker, l.worker)
order by t.created desc, t.id desc

-- name: OutlinePicked
-- Reads the status of the tasks that a part named p has picked, and since when they have it.
select p.id, p.created, case when e.task is not null then e.status when r.task is not null then 'running' when q.queued then 'queued' else 'interrupted' end,
	coalesce(e.ended, r.started, q.since, p.created)
from p
left join lateral (select * from @.ended e where e.created = p.created and e.task = p.id limit 1) e on true
left join lateral (select * from @.running r where e.task is null and r.task = p.id limit 1) r on true
left join lateral (
	(select * from @.ready q where e.task is null and r.task is null and q.created = p.created and q.id = p.id limit 1)
	union all
	(select * from @.delayed q where e.task is null and r.task is null and q.created = p.created and q.id = p.id limit 1)
	limit 1
) q on true
where e.task is not null or r.task is not null or q.id is not null

-- name: PickHeld
-- The runs of a dead worker.
select r.task as id from @.running r where r.worker = $1 and exists (select 1 from @.workers w where w.worker = $1 and w.dead) limit $2

-- name: CreatedOf
select created from @.tasks where id = $1

-- name: KindsOfQueue
-- Jumps through the index from each kind that has tasks in a queue to the next kind.
with recursive found as (
	(select kind from @.tasks where queue = $1 order by kind limit 1)
	union all
	select n.kind from found f, lateral (
		select t.kind from @.tasks t where t.queue = $1 and t.kind > f.kind order by t.kind limit 1
	) n
)
select kind from found

-- name: History
select h.run, coalesce(w.id, h.worker::text, ''), coalesce(w.host, ''), coalesce(w.pid, 0), h.started, h.ended, h.status, h.reason, h.error, h.crashed, h.reclaimed
from (
	select run, worker, started, ended, status, coalesce(reason, '') as reason, coalesce(error, '') as error, coalesce(crashed, false) as crashed, coalesce(reclaimed, false) as reclaimed
	from @.runs where task = $1
	union all
	select e.run, e.worker, e.started, e.ended, e.status, '', coalesce(e.error, ''), coalesce(e.crashed, false), coalesce(e.reclaimed, false)
	from @.ended e where e.created = (select created from @.tasks where id = $1) and e.task = $1 and e.started is not null
	union all
	select r.run, r.worker, r.started, null, 'running', '', '', false, false from @.running r where r.task = $1
	union all
	select null, null, null, null, '', '', '', false, false from @.tasks where id = $1
) h left join @.workers w on w.worker = h.worker
order by h.run nulls last

-- name: Steps
-- The steps of a task, and a row without a step for one that has none.
select k.step, k.state, coalesce(k.place, 0), coalesce(k.version, ''), k.body, k.run, k.saved
from @.tasks t left join @.checkpoints k on k.task = t.id and k.step > ''
where t.id = $1
order by k.place nulls last, k.step

-- name: Commands
-- The last row is there for a task without commands.
select c.at, c.verb, coalesce(c.asked_by, ''), coalesce(c.reason, '') from @.commands c where c.task = $1
union all
select null, '', '', '' from @.tasks t where t.id = $1
order by 1 nulls last

-- name: Log
select coalesce((select l.body from @.logs l where l.task = $1), '')
	|| coalesce((select e.log from @.ended e where e.created = t.created and e.task = $1), '')
from @.tasks t where t.id = $1

-- name: Count
-- The sums of the changes, and the number of running tasks: sorted by queue and kind, so that the
-- caller adds up one of them at a time. The rows without a kind are the numbers of suspects, and
-- the paused queues.
select queue, kind, status, sum(delta)::bigint from @.counts group by queue, kind, status
union all
select queue, kind, 'running', count(*) from @.running group by queue, kind
union all
select '', '', 'waiting', (select count(*) from @.ready where suspicion is not null) + (select count(*) from @.delayed where suspicion is not null)
union all
select '', '', 'running', count(*) from @.running r where r.crash_streak > 0 and r.suspicion is not null
	and not exists (select 1 from @.checkpoints k where k.task = r.task and k.step = '' and k.run = r.run and k.crash_streak is null)
union all
select queue, '', '', 0 from @.paused
order by 1, 2
