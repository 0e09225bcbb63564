-- name: Prune
-- Removes tasks that ended long enough ago and have no retention of their own, in the order of
-- their ends, with everything that belongs to them. Tasks that a command or another pruning has
-- locked are skipped. The answer is how many were removed, how many were read, and the position of
-- the last one.
with cutoff as materialized (
	select least(now(), $1::timestamptz) - $2::bigint::double precision * interval '1 microsecond' as at
), old as materialized (
	select e.ctid, e.task, e.ended from @.ended e
	where e.ended >= $3::timestamptz and (e.ended, e.task) > ($3::timestamptz, $4::uuid) and e.ended < (select at from cutoff) and e.expires is null
	order by e.ended, e.task limit $5 for update skip locked
), gone as (
	delete from @.ended where ctid = any (array(select ctid from old)) returning task, kind, queue, status, ended
), tasks_gone as (
	delete from @.tasks where id = any (array(select task from gone))
), runs_gone as (
	delete from @.runs where task = any (array(select task from gone))
), checkpoints_gone as (
	delete from @.checkpoints where task = any (array(select task from gone))
), logs_gone as (
	delete from @.logs where task = any (array(select task from gone))
), commands_gone as (
	delete from @.commands where task = any (array(select task from gone))
), counted as (
	insert into @.counts (kind, queue, status, delta)
	select kind, queue, s.status, -count(*) from gone g, lateral (select g.status union all select 'added') s group by kind, queue, s.status
)
select (select count(*) from gone), (select count(*) from old), o.ended, o.task from (select ended, task from old order by ended desc, task desc limit 1) o

-- name: PruneExpired
-- Removes tasks whose own retention is over. The answer is how many were removed.
with cutoff as materialized (
	select least(now(), $1::timestamptz) as at
), old as materialized (
	select e.ctid from @.ended e
	where e.expires is not null and e.expires <= (select at from cutoff)
	order by e.expires limit $2 for update skip locked
), gone as (
	delete from @.ended where ctid = any (array(select ctid from old)) returning task, kind, queue, status
), tasks_gone as (
	delete from @.tasks where id = any (array(select task from gone))
), runs_gone as (
	delete from @.runs where task = any (array(select task from gone))
), checkpoints_gone as (
	delete from @.checkpoints where task = any (array(select task from gone))
), logs_gone as (
	delete from @.logs where task = any (array(select task from gone))
), commands_gone as (
	delete from @.commands where task = any (array(select task from gone))
), counted as (
	insert into @.counts (kind, queue, status, delta)
	select kind, queue, s.status, -count(*) from gone g, lateral (select g.status union all select 'added') s group by kind, queue, s.status
)
select count(*) from gone

-- name: PruneKeys
-- Removes keys whose time is over.
delete from @.keys where ctid = any (array(
	select k.ctid from @.keys k where k.ended and k.until <= least(now(), $1::timestamptz) order by k.until limit $2 for update skip locked
))

-- name: RemoveGoneWorkers
delete from @.workers where gone < least(now(), $1::timestamptz) - $2::bigint::double precision * interval '1 microsecond'

-- name: RemoveForgottenWorkers
-- Removes workers that have been gone since before any task was created, so that no stored run can
-- be of them, and all but the $1 that have been gone for the shortest time.
delete from @.workers where gone < (select coalesce(min(t.created), 'infinity') from @.tasks t)
	or ctid = any (array(select w.ctid from @.workers w where w.gone is not null order by w.gone desc offset $1))

-- name: CompactCounts
-- Adds up the rows of those counts that have more than $1, or of all counts if that removes at
-- least half of the rows. It does nothing if another process is doing so.
with turn as materialized (
	select 1 from @.lastcall where key = 'version' for update skip locked
), rows as materialized (
	select kind, queue, status, count(*) as n from turn, @.counts group by kind, queue, status
), gone as (
	delete from @.counts where ((kind, queue, status) in (
			select kind, queue, status from rows where n > case when (select sum(n)::bigint >= 2 * count(*) from rows) then 1 else $1 end
		)) is true
	returning kind, queue, status, delta
)
insert into @.counts (kind, queue, status, delta) select kind, queue, status, sum(delta) from gone group by kind, queue, status having sum(delta)::bigint <> 0

-- name: Bloat
-- Returns the tables that have far more dead rows than live ones, by the statistics of the server.
select c.relname from pg_catalog.pg_class c join pg_catalog.pg_stat_user_tables s on s.relid = c.oid
where c.relnamespace = '@.'::regnamespace::oid and c.relkind = 'r' and s.n_dead_tup > $1 and s.n_dead_tup > 2 * s.n_live_tup
