-- Statements of Apply.

-- name: HeldRuns
select t.id, t.n, t.kind, t.queue, t.priority, t.created,
	r.run, r.runs, r.worker, r.host, r.pid, r.started, r.run_at,
	r.attempts, r.interruptions, r.crashes, r.crash_streak, r.interrupt_streak, r.suspicion,
	r.max_attempts, r.max_crashes, r.max_interruptions, r.keep, r.command
from json_each(?) j
cross join tasks t on t.id = j.value
cross join running r on r.task = t.n

-- name: SetCounters
update running set suspicion = v.column2, attempts = v.column3, interruptions = v.column4, crashes = v.column5,
	crash_streak = v.column6, interrupt_streak = v.column7
from (
	values (?, ?, ?, ?, ?, ?, ?)
) v where task = v.column1

-- name: KeepCheckpoints
-- null keeps what is stored
insert into checkpoints (task, checkpoint, fraction, message)
values (?, ?, ?, ?)
on conflict (task) do update set checkpoint = coalesce(excluded.checkpoint, checkpoint),
	fraction = coalesce(excluded.fraction, fraction), message = coalesce(excluded.message, message)

-- name: KeepSteps
insert into steps (task, name, place, state, version, run, saved, body)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (task, name) do update set place = excluded.place, state = excluded.state, version = excluded.version,
	run = excluded.run, saved = excluded.saved, body = excluded.body

-- name: KeepLogs
-- the last argument bounds a log
insert into logs (task, body)
values (?, ?)
on conflict (task) do update set body = substr(cast(body || excluded.body as blob), -?)

-- name: EndTasks
insert into ended (task, created, ended, status, reason, error, run, runs, worker, host, pid, started, run_at, crashed, reclaimed,
	attempts, interruptions, crashes, crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions, expires, result)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: Requeue
insert into waiting (task, id, kind, queue, due, suspicion, priority, interrupted, run_at, since, run, runs,
	attempts, interruptions, crashes, crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions, reason, error)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: KeepRuns
insert into runs (task, run, worker, host, pid, started, ended, status, reason, error, crashed, reclaimed)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (task, run) do nothing

-- name: ForgetOldestRuns
delete from runs where (task, run) in (
	select j.value, (select min(run) from runs where task = j.value) from json_each(?) j)

-- name: EndRuns
delete from running where task in (select value from json_each(?))

-- name: ReleaseKeys
delete from keys where task in (select value from json_each(?))

-- name: CountEnded
insert into counts (queue, kind, status, n)
values (?, ?, ?, ?)
on conflict (queue, kind, status) do update set n = n + excluded.n

-- name: OutcomeOfRun
-- what is stored of a run that is no longer held; the last run of a task that was cancelled while
-- it waited may be in both tables
select r.status, r.reason, r.reclaimed from tasks t
join runs r on r.task = t.n where t.id = ?1 and r.run = ?2 and r.worker = ?3
union all
select e.status, e.reason, e.reclaimed from tasks t
join ended e on e.task = t.n where t.id = ?1 and e.run = ?2 and e.worker = ?3
limit 1

-- name: TaskExists
select exists (select 1 from tasks where id = ?)
