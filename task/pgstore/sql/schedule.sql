-- name: ScheduleSet
select s.generation, s.revision, s.digest, s.former, s.salt, s.beats, n.at
from (select least(now(), $2::timestamptz) as at) n left join @.schedule_sets s on s.name = $1

-- name: CreateScheduleSet
insert into @.schedule_sets (name, generation, revision, digest, former, salt) values ($1, $2, $3, $4, $5, $6) on conflict do nothing

-- name: ChangeScheduleSet
update @.schedule_sets set generation = $2, revision = $3, digest = $4, former = $5, salt = $6, beats = 0, heard = now()
where name = $1 and generation = $7

-- name: RenameSchedules
update @.schedules s set name = r.name
from (select unnest($2::text[]) as former, unnest($3::text[]) as name) r
where s.set = $1 and s.name = r.former and not exists (select 1 from @.schedules o where o.set = $1 and o.name = r.name)

-- name: RemoveSchedules
delete from @.schedules where set = $1 and generation <> $2

-- name: PutSchedules
-- A schedule whose timing is the same keeps its next tick, unless the new tick is earlier.
insert into @.schedules as s (set, name, generation, timing, words, template, tick, due)
select $1, n.name, $2, n.timing, n.words, n.template, n.tick, n.tick
from (select unnest($3::text[]) as name, unnest($4::text[]) as timing, unnest($5::text[]) as words, unnest($6::bytea[]) as template, unnest($7::timestamptz[]) as tick) n
on conflict (set, name) do update set generation = excluded.generation, timing = excluded.timing, words = excluded.words, template = excluded.template,
	tick = case when s.timing = excluded.timing then least(s.tick, excluded.tick) else excluded.tick end,
	due = case when s.timing = excluded.timing and s.tick <= coalesce(excluded.tick, s.tick) then s.due else excluded.tick end

-- name: Schedules
select s.set, s.name, s.timing, s.words, s.template, s.tick, s.paused, s.last, s.last_task from @.schedules s
where (s.set, s.name) > ($1, $2) and s.set <= $3 and ($4 = '' or s.name = $4)
order by s.set, s.name limit $5

-- name: HearSchedules
update @.schedule_sets set beats = beats + 1, heard = now() where name = $1 and generation = $2

-- name: RemoveEmptySets
-- Removes sets without schedules of which no process has been heard of for that long. A put that
-- goes on meanwhile has the lock of the row, and then the set has just been heard of.
delete from @.schedule_sets g where g.heard < least(now(), $1::timestamptz) - $2::bigint::double precision * interval '1 microsecond'
	and not exists (select 1 from @.schedules s where s.set = g.name)

-- name: DueSchedules
-- Returns the schedules that are due first. The caller finds out which of them are due by now, and
-- how long it is until the next one.
select s.name, s.tick, s.due, s.paused from @.schedules s
where s.set = $1 and s.generation = $2 and s.due is not null order by s.due limit $3

-- name: LockSchedules
-- Locks the named schedules if their next ticks are the given ones, and returns their last tasks.
-- Schedules that another transaction has locked are left out.
select s.name, s.paused, s.last_task
from (select unnest($3::text[]) as name, unnest($4::timestamptz[]) as at) n
join @.schedules s on s.set = $1 and s.name = n.name and (n.at is null or s.tick = n.at) and ($2::uuid is null or s.generation = $2)
order by s.name for update of s skip locked

-- name: Unfinished
-- Returns which of some tasks have not ended. It runs after the lock of the schedules, so that it
-- sees what was added before.
select t.id from (select unnest($1::uuid[]) as id) l, lateral (select t.id, t.created from @.tasks t where t.id = l.id limit 1) t
left join lateral (select e.task from @.ended e where e.created = t.created and e.task = t.id limit 1) e on true
where e.task is null

-- name: SetTicks
update @.schedules s set tick = n.tick, due = coalesce(least(now(), $2::timestamptz) + n.hold::double precision * interval '1 microsecond', n.tick),
	last = coalesce(n.last, s.last), last_task = coalesce(n.task, s.last_task)
from (select unnest($3::text[]) as name, unnest($4::timestamptz[]) as tick, unnest($5::bigint[]) as hold, unnest($6::timestamptz[]) as last, unnest($7::uuid[]) as task) n
where s.set = $1 and s.name = n.name

-- name: SetLastTask
update @.schedules set last_task = $3 where set = $1 and name = $2

-- name: PauseSchedule
with paused as (
	update @.schedules set paused = $3 where set = $1 and name = $2 returning 1
)
select count(*) from paused
