-- Statements of Claim.

-- name: DelayIsOver
select exists (select 1 from waiting where due = 0 and run_at <= ?)

-- name: Promote
update waiting set due = 1 where due = 0 and task in (
	select task from waiting where due = 0 and run_at <= ?1 order by run_at limit ?2)

-- name: PausedQueues
select queue from paused

-- name: FirstQueues
-- of the queues that are not paused, those with the most urgent first tasks; one step in the index
-- finds the next queue that is not empty, and another its first task
with recursive q (queue) as (
	select min(queue) from waiting where due = 1 and kind = ?1 and suspect = ?2
	union all
	select (select min(queue) from waiting where due = 1 and kind = ?1 and suspect = ?2 and queue > q.queue)
	from q where q.queue is not null
)
select q.queue from q cross join waiting w on w.task = (
	select task from waiting where due = 1 and kind = ?1 and queue = q.queue and suspect = ?2
	order by priority desc, interrupted desc, run_at, id limit 1)
where q.queue not in (select queue from paused)
order by w.priority desc, w.interrupted desc, w.run_at, w.id limit ?3

-- name: ReadyOfKind
select task, id, priority, interrupted, run_at from waiting
where due = 1 and kind = ?1 and suspect = ?2
order by priority desc, interrupted desc, run_at, id limit ?3

-- name: ReadyOfQueue
select task, id, priority, interrupted, run_at from waiting
where due = 1 and kind = ?1 and queue = ?4 and suspect = ?2
order by priority desc, interrupted desc, run_at, id limit ?3

-- name: InterruptedOfKind
-- few tasks are interrupted and no suspects, so those of other queues are stepped over
select task, id, priority, interrupted, run_at from waiting
where due = 1 and interrupted = 1 and suspect = 0 and kind = ?1
	and queue not in (select queue from paused) and (?3 = '[]' or queue in (select value from json_each(?3)))
order by priority desc, run_at, id limit ?2

-- name: ReadyOfGroup
-- a group of suspects has no more tasks than a worker had, so other queues are stepped over
select task, id, priority, interrupted, run_at from waiting
where due = 1 and suspicion <> 0 and suspicion = ?1 and kind = ?2
	and queue not in (select queue from paused) and (?4 = '[]' or queue in (select value from json_each(?4)))
order by priority desc, interrupted desc, run_at, id limit ?3

-- name: ClaimingWorker
select host, pid from workers where id = ? and dead = 0

-- name: BeginRuns
insert into running (task, run, runs, worker, host, pid, started, run_at, suspicion,
	attempts, interruptions, crashes, crash_streak, interrupt_streak,
	max_attempts, max_crashes, max_interruptions, keep, reason, error)
select w.task, max(w.run + 1, ?2), w.runs + 1, ?3, ?4, ?5, ?6, w.run_at, w.suspicion,
	w.attempts, w.interruptions, w.crashes, w.crash_streak, w.interrupt_streak,
	?7, ?8, ?9, ?10, w.reason, w.error
from json_each(?1) j cross join waiting w on w.task = j.value

-- name: EndWaits
delete from waiting where task in (select value from json_each(?))
