-- Statements of Control.

-- name: Pause
insert into paused (queue) values (?) on conflict do nothing

-- name: Resume
delete from paused where queue = ?

-- name: StateOfTask
select t.n, t.kind, t.queue, t.key, coalesce(r.task is not null, 0), coalesce(e.status, ''), coalesce(w.interrupted, 0), coalesce(r.started, e.ended, w.since, 0)
from tasks t left join running r on r.task = t.n left join ended e on e.task = t.n left join waiting w on w.task = t.n where t.id = ?

-- name: KeepCommand
-- no two commands of a task have the same time
insert into asked (task, at, verb, asked_by, reason)
values (?1, max(?2, coalesce((select max(at) + 1 from asked where task = ?1), 0)), ?3, ?4, ?5)

-- name: ForgetOldestCommands
delete from asked where task = ?1 and at < (select at from asked where task = ?1 order by at desc limit 1 offset ?2 - 1)

-- name: Command
-- an interruption does not replace a cancellation
update running set command = case command when 'cancel' then command else ?2 end where task = ?1

-- name: InterruptQueue
update running set command = 'interrupt' where command = '' and (select t.queue from tasks t where t.n = task) = ?

-- name: CancelWaiting
-- the last argument is the reason
insert into ended (task, created, ended, status, reason, error, run, runs, worker, host, pid, started, run_at, crashed, reclaimed,
	attempts, interruptions, crashes, crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions)
select w.task, t.created, ?2, 'cancelled', ?3, w.error, w.run, w.runs,
	coalesce(l.worker, ''), coalesce(l.host, ''), coalesce(l.pid, 0), coalesce(l.started, 0), w.run_at,
	coalesce(l.crashed, 0), coalesce(l.reclaimed, 0),
	w.attempts, w.interruptions, w.crashes, w.crash_streak, w.interrupt_streak, w.max_attempts, w.max_crashes, w.max_interruptions
from waiting w join tasks t on t.n = w.task left join runs l on l.task = w.task and l.run = w.run
where w.task in (select value from json_each(?1))

-- name: HasExpired
select exists (select 1 from waiting where start_before is not null and start_before <= ?)

-- name: ExpiredFirst
select task, kind, queue from waiting where start_before is not null and start_before <= ?1 order by start_before limit ?2

-- name: RetryWaiting
update waiting set due = 1, suspicion = 0, run_at = ?2, attempts = 0, crash_streak = 0, interrupt_streak = 0 where task = ?1

-- name: RetryEnded
insert into waiting (task, id, kind, queue, due, priority, run_at, since, run, runs,
	interruptions, crashes, max_attempts, max_crashes, max_interruptions, error)
select e.task, t.id, t.kind, t.queue, 1, t.priority, ?2, ?2, e.run, e.runs,
	e.interruptions, e.crashes, e.max_attempts, e.max_crashes, e.max_interruptions, e.error
from ended e join tasks t on t.n = e.task where e.task = ?1

-- name: KeepLastRun
-- the task goes on; if it was cancelled while it waited, runs already has its last run
insert into runs (task, run, worker, host, pid, started, ended, status, reason, error, crashed, reclaimed)
select task, run, worker, host, pid, started, ended, status, reason, error, crashed, reclaimed from ended where task = ? and run > 0
on conflict (task, run) do nothing

-- name: GiveBackWindow
delete from windows where kind = ?1 and key = ?2 and id = ?3

-- name: TakeBackEnd
delete from ended where task = ?

-- name: SkipStep
-- a step that is done stays done
insert into steps (task, name, place, state, version, run, saved) values (?1, ?2, 0, 'skipped', '', 0, ?3)
on conflict (task, name) do update set place = 0, state = 'skipped', version = '', run = 0, saved = excluded.saved, body = null
where state <> 'done'
