-- Statements of schedules.

-- name: ScheduleSet
select generation, revision, digest, former, salt, beats from schedule_sets where name = ?

-- name: PutScheduleSet
insert into schedule_sets (name, generation, revision, digest, former, salt, beats, heard) values (?, ?, ?, ?, ?, ?, 0, ?)
on conflict (name) do update set generation = excluded.generation, revision = excluded.revision, digest = excluded.digest,
	former = excluded.former, salt = excluded.salt, beats = 0, heard = excluded.heard

-- name: RenameSchedule
update schedules set name = ?3 where schedule_set = ?1 and name = ?2
	and not exists (select 1 from schedules where schedule_set = ?1 and name = ?3)

-- name: PutSchedules
-- a schedule whose timing is the same keeps its next tick, unless the new tick is earlier
insert into schedules (schedule_set, name, timing, words, template, tick, due) values (?, ?, ?, ?, ?, ?, ?)
on conflict (schedule_set, name) do update set timing = excluded.timing, words = excluded.words, template = excluded.template,
	tick = case when timing = excluded.timing and tick <= coalesce(excluded.tick, tick) then tick else excluded.tick end,
	due = case when timing = excluded.timing and tick <= coalesce(excluded.tick, tick) then due else excluded.tick end

-- name: RemoveSchedules
delete from schedules where schedule_set = ? and name not in (select value from json_each(?))

-- name: Schedules
select schedule_set, name, timing, words, template, tick, paused, last, last_task from schedules
where (schedule_set, name) > (?1, ?2) and schedule_set <= ?3 and (?4 = '' or name = ?4) order by schedule_set, name limit ?5

-- name: HearSchedules
update schedule_sets set beats = beats + 1, heard = ?3 where name = ?1 and generation = ?2

-- name: RemoveEmptySets
delete from schedule_sets where heard < ? and not exists (select 1 from schedules where schedule_set = schedule_sets.name)

-- name: DueSchedules
select s.name, s.tick, s.due, s.paused from schedule_sets g cross join schedules s
where g.name = ?1 and g.generation = ?2 and s.schedule_set = ?1 and s.due is not null order by s.due limit ?3

-- name: ScheduleToTick
-- returns the last task, unless it has ended
select s.paused, coalesce(s.tick, 0), case when t.n is not null and e.task is null then t.id else '' end
from schedules s left join tasks t on t.id = s.last_task left join ended e on e.task = t.n
where s.schedule_set = ? and s.name = ?

-- name: SetTick
update schedules set tick = ?3, due = ?4, last = coalesce(?5, last), last_task = case when ?6 = '' then last_task else ?6 end
where schedule_set = ?1 and name = ?2

-- name: SetLastTask
update schedules set last_task = ?3 where schedule_set = ?1 and name = ?2

-- name: PauseSchedule
update schedules set paused = ?3 where schedule_set = ?1 and name = ?2
