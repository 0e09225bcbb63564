-- Statements of Heartbeat, Workers and Reclaim.

-- name: Register
insert into workers (id, name, host, pid, kinds, queues, slots, lease, seq, state, since, boot)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing

-- name: Renew
update workers set seq = ?2, state = ?3, unresponsive = ?4, paused = ?5 where id = ?1 and seq < ?2

-- name: LostRuns
-- for a list of triples of a task, a run and a worker: the places of those that are not held
select j.key from json_each(?) j where not exists (
	select 1 from tasks t cross join running r on r.task = t.n
	where t.id = j.value ->> 0 and r.run = j.value ->> 1 and r.worker = j.value ->> 2)
order by j.key

-- name: Commands
select t.id, r.run, r.command from running r join tasks t on t.n = r.task where r.worker = ? and r.command <> '' order by t.id

-- name: RemoveIdleWorker
delete from workers where id = ?1 and not exists (select 1 from running where worker = ?1)

-- name: RemoveWorker
delete from workers where id = ?

-- name: Workers
select id, name, host, pid, kinds, queues, slots, lease, seq, state, unresponsive, paused, since, boot, dead from workers order by id

-- name: WorkerToReclaim
select seq, state, boot, dead, evidence, suspects, split from workers where id = ?

-- name: MarkDead
-- counts and halves the worker's suspects or, if there are none, its tasks that were in a crash
-- before, which may become suspects
with crashed as materialized (
	select t.id, r.suspicion from running r cross join tasks t on t.n = r.task where r.worker = ?1 and r.crash_streak > 0
), halved as materialized (
	select id from crashed where (suspicion <> 0) = exists (select 1 from crashed where suspicion <> 0)
)
update workers set dead = 1, evidence = ?2, suspects = (select count(*) from crashed where suspicion <> 0),
	split = coalesce((select id from halved order by id limit 1 offset ((select count(*) from halved) + 1) / 2), '')
where id = ?1 returning suspects, split

-- name: IsRegistered
select exists (select 1 from workers where id = ?)
