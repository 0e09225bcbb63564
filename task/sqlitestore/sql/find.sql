-- Statements of Find, History and Log.

-- name: Tasks
-- conditions follow
select t.id, t.kind, t.queue, t.key, t.payload, t.meta, t.priority, t.created,
	case when r.task is not null then 'running' when e.task is not null then e.status
		when w.interrupted then 'interrupted' else 'queued' end,
	coalesce(r.reason, e.reason, w.reason), coalesce(r.error, e.error, w.error),
	coalesce(r.started, e.ended, w.since), coalesce(r.run_at, e.run_at, w.run_at), coalesce(r.started, e.started, l.started, 0),
	coalesce(r.run, e.run, w.run), coalesce(r.runs, e.runs, w.runs), coalesce(r.worker, e.worker, l.worker, ''),
	coalesce(r.attempts, e.attempts, w.attempts), coalesce(r.interruptions, e.interruptions, w.interruptions),
	coalesce(r.crashes, e.crashes, w.crashes), coalesce(r.crash_streak, e.crash_streak, w.crash_streak),
	coalesce(r.interrupt_streak, e.interrupt_streak, w.interrupt_streak), coalesce(r.suspicion, w.suspicion, 0),
	coalesce(r.max_attempts, e.max_attempts, w.max_attempts), coalesce(r.max_crashes, e.max_crashes, w.max_crashes),
	coalesce(r.max_interruptions, e.max_interruptions, w.max_interruptions),
	c.checkpoint, coalesce(c.fraction, 0), coalesce(c.message, ''), e.result, w.start_before
from tasks t
left join running r on r.task = t.n
left join ended e on e.task = t.n
left join waiting w on w.task = t.n
left join runs l on l.task = w.task and l.run = w.run
left join checkpoints c on c.task = t.n

-- name: Outlines
-- conditions follow
select t.id, t.created, case when r.task is not null then 'running' when e.task is not null then e.status
		when w.interrupted then 'interrupted' else 'queued' end, coalesce(r.started, e.ended, w.since)
from tasks t
left join running r on r.task = t.n
left join ended e on e.task = t.n
left join waiting w on w.task = t.n

-- name: RunningTasks
-- conditions follow
select t.id, t.kind, t.queue, t.key, t.payload, t.meta, t.priority, t.created, r.reason, r.error, r.started, r.run_at,
	r.run, r.runs, r.worker, r.attempts, r.interruptions, r.crashes, r.crash_streak, r.interrupt_streak, r.suspicion,
	r.max_attempts, r.max_crashes, r.max_interruptions, c.checkpoint, coalesce(c.fraction, 0), coalesce(c.message, '')
from running r cross join tasks t on t.n = r.task
left join checkpoints c on c.task = r.task

-- name: OfNumbers
where r.task in (select value from json_each(?))

-- name: HeldAndNotListed
where r.worker = ?1 and (t.id, r.run) not in (select value ->> 0, value ->> 1 from json_each(?2)) order by t.id

-- name: HeldBy
where r.task in (select task from running where worker = ?1 limit ?2) order by t.id

-- name: CreatedAt
select created from tasks where id = ?

-- name: FewWait
select count(*) <= ?1 from (select 1 from waiting limit ?1 + 1)

-- name: FewInterrupted
select count(*) <= ?1 from (select 1 from waiting where interrupted = 1 limit ?1 + 1)

-- name: CommandsOfTask
select c.at, c.verb, c.asked_by, c.reason from tasks t join asked c on c.task = t.n where t.id = ? order by c.at

-- name: History
with t as (select n from tasks where id = ?1)
select * from (
	select run, worker, host, pid, started, ended, status, reason, error, crashed, reclaimed from runs where task = (select n from t)
	union all
	select run, worker, host, pid, started, ended, status, reason, error, crashed, reclaimed from ended e where task = (select n from t)
		and run > 0 and not exists (select 1 from runs r where r.task = e.task and r.run = e.run)
	union all
	select run, worker, host, pid, started, 0, 'running', '', '', 0, 0 from running where task = (select n from t)
) order by run desc limit ?2

-- name: Steps
-- a task without steps has one row without a name
select coalesce(s.name, ''), coalesce(s.place, 0), coalesce(s.state, ''), coalesce(s.version, ''), coalesce(s.run, 0), coalesce(s.saved, 0), s.body
from tasks t left join steps s on s.task = t.n where t.id = ? order by s.place = 0, s.place, s.name

-- name: Log
select coalesce(l.body, x'') from tasks t left join logs l on l.task = t.n where t.id = ?
