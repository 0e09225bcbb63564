-- Statements of Count and Prune.

-- name: Counts
-- what can be claimed is counted along an index; the suspects have no kind
with w as materialized (
	select queue, kind, sum(interrupted) as interrupted, count(*) as n, sum(suspect) as suspects from waiting where due = 1 group by kind, suspect, queue
	union all
	select queue, kind, sum(interrupted), count(*), sum(suspect) from waiting where due = 0 group by 1, 2
)
select queue, kind, status, sum(n) from (
	select queue, kind, 'queued' as status, n - interrupted as n from w
	union all
	select queue, kind, 'interrupted', interrupted from w
	union all
	select t.queue, t.kind, 'running', count(*) from running r join tasks t on t.n = r.task group by 1, 2
	union all
	select queue, kind, status, n from counts
) group by 1, 2, 3 having sum(n) > 0
union all
select '', '', 'waiting', coalesce(sum(suspects), 0) from w
union all
select '', '', 'running', count(*) from running where crash_streak > 0 and suspicion <> 0
union all
select queue, '', '', 0 from paused

-- name: EndedFirst
select e.task, e.status, t.queue, t.kind from ended e join tasks t on t.n = e.task
where e.ended <= ?1 order by e.ended, e.task limit ?2

-- name: PruneRuns
delete from runs where task in (select value from json_each(?))

-- name: PruneCheckpoints
delete from checkpoints where task in (select value from json_each(?))

-- name: PruneLogs
delete from logs where task in (select value from json_each(?))

-- name: PruneEnded
delete from ended where task in (select value from json_each(?))

-- name: PruneTasks
delete from tasks where n in (select value from json_each(?))

-- name: PruneCounts
delete from counts where n <= 0
