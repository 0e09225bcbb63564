-- Statements of Count and Prune.

-- name: Counts
-- The tasks that can be claimed are counted by an index, and merged with the delayed ones: a kind
-- and a queue have up to three rows, one after the other, which the caller adds up. The last column
-- is the number of waiting suspects. The rows without a kind are the running suspects, and the
-- paused queues.
select kind, queue, 'queued' as status, n, interrupted, suspects from (
	select kind, queue, count(*) as n, sum(interrupted) as interrupted, sum(suspect) as suspects from waiting where due = 1 group by kind, suspect, queue
	union all
	select kind, queue, count(*), sum(interrupted), sum(suspect) from waiting where due = 0 group by kind, queue
	order by kind, queue limit -1
)
union all
select t.kind, t.queue, 'running', count(*), 0, 0 from running r join tasks t on t.n = r.task group by 1, 2
union all
select kind, queue, status, n, 0, 0 from counts where n > 0
union all
select '', '', 'running', count(*), 0, 0 from running where crash_streak > 0 and suspicion <> 0
union all
select '', queue, '', 0, 0, 0 from paused

-- name: EndedFirst
select e.task, e.status, t.queue, t.kind from ended e join tasks t on t.n = e.task
where e.expires is null and e.ended <= ?1 order by e.ended, e.task limit ?2

-- name: ExpiresFirst
select e.task, e.status, t.queue, t.kind from ended e join tasks t on t.n = e.task
where e.expires is not null and e.expires <= ?1 order by e.expires, e.task limit ?2

-- name: PruneRuns
delete from runs where task in (select value from json_each(?))

-- name: PruneCheckpoints
delete from checkpoints where task in (select value from json_each(?))

-- name: PruneSteps
delete from steps where task in (select value from json_each(?))

-- name: PruneLogs
delete from logs where task in (select value from json_each(?))

-- name: PruneCommands
delete from asked where task in (select value from json_each(?))

-- name: PruneEnded
delete from ended where task in (select value from json_each(?))

-- name: PruneReplaced
delete from replaced where task in (select value from json_each(?))

-- name: PruneWindows
delete from windows where (kind, key) in (select kind, key from windows where until <= ?1 order by until limit ?2)

-- name: PruneTasks
delete from tasks where n in (select value from json_each(?))

-- name: PruneCounts
delete from counts where n <= 0
