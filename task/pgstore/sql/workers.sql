-- name: RegisterWorker
insert into @.workers (worker, id, name, host, pid, kinds, queues, slots, lease, seq, state)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing

-- name: Beat
-- Renews a worker. The answer is a row for the worker, with the start of the server; a row for each
-- lost run, with its place in the list; and a row for each run that has a command.
with beat as (
	update @.workers set seq = greatest(seq, $2), state = case when seq < $2 then $3 else state end,
		unresponsive = case when seq < $2 then $7::text[] else unresponsive end,
		paused = case when seq < $2 then $8::jsonb else paused end
	where worker = $1 and gone is null and not dead returning worker
), listed as (
	select unnest($4::uuid[]) as task, unnest($5::bigint[]) as run, unnest($6::uuid[]) as worker, generate_subscripts($4::uuid[], 1) as place
), held as materialized (
	select task, run, worker from @.running where task = any ($4::uuid[])
)
select 0 as lost, null::uuid as task, 0::bigint as run, '' as command, pg_postmaster_start_time() as boot from beat
union all
select l.place, null, 0, '', null from listed l where ((l.task, l.run, l.worker) in (select task, run, worker from held)) is not true
union all
select 0, r.task, r.run, r.command, null from @.running r where r.worker = $1 and r.command is not null and exists (select 1 from beat)

-- name: LockWorker
-- Waits for the claims of a worker that are in progress, and has new ones wait.
select 1 from @.workers where worker = $1 for update

-- name: RaiseEpoch
update @.workers set epoch = greatest(epoch, $2) where worker = $1

-- name: HeldRuns
-- Returns the runs of a worker.
select array_agg(task), array_agg(run) from @.running where worker = $1

-- name: RemoveStoppedWorker
update @.workers set gone = now() where worker = $1 and state = 'stopped' and gone is null and not exists (select 1 from @.running where worker = $1)

-- name: Workers
-- The last column but one is whether the worker's session is gone, null if that is no evidence.
select w.id, w.name, w.host, w.pid, w.kinds, w.queues, w.slots, w.lease, w.seq, w.state, w.unresponsive, w.paused, w.since, w.dead,
	case when w.boot = pg_postmaster_start_time()
		then not exists (select 1 from pg_stat_get_activity(null) a where a.application_name = w.session and a.usesysid = w.role) end, w.confirm
from @.workers w where w.gone is null order by w.id

-- name: MarkDead
-- Marks a worker dead, unless its beat or its session shows that it lives. The caller has locked
-- the worker's row, so a statement that says that the worker is back comes either before this one,
-- or too late. The worker's suspects are counted and split in halves now, before the first of its
-- runs is ended. A suspect whose run has saved a new checkpoint no longer counts as one. If there
-- are no suspects, the tasks that were in a crash before are split, since they may become suspects.
update @.workers w set dead = true, evidence = $2, (suspects, split) = (
	select s.n, s.ids[(cardinality(s.ids) + 1) / 2 + 1] from (
		select count(r.suspicion) as n,
			coalesce(array_agg(r.task order by r.task) filter (where r.suspicion is not null), array_agg(r.task order by r.task)) as ids
		from @.running r
		left join lateral (select k.run, k.crash_streak from @.checkpoints k where k.task = r.task and k.step = '' limit 1) k on true
		where r.worker = $1 and r.crash_streak > 0 and case when k.run = r.run then k.crash_streak > 0 else true end
	) s
)
where worker = $1 and gone is null and not dead and case
	when not $2 then seq = $3
	when state = 'stopped' then true
	when not $4 or seq <> $3 or boot is distinct from pg_postmaster_start_time() then false
	else not exists (select 1 from pg_stat_get_activity(null) a where a.application_name = w.session and a.usesysid = w.role) end

-- name: MarkedDead
select dead, evidence, suspects, split, state from @.workers where worker = $1 and gone is null

-- name: RemoveDeadWorker
update @.workers set gone = now() where worker = $1 and dead and gone is null and not exists (select 1 from @.running where worker = $1)
