-- Statements of Add.

-- name: ExistingIDs
select t.id, t.kind, case when r.task is null then t.payload end, r.first
from json_each(?) j cross join tasks t on t.id = j.value left join replaced r on r.task = t.n

-- name: KeyHolders
-- for a list of pairs of a kind and a key; a task with a key and a window is returned twice
select k.kind, k.key, t.id
from json_each(?1) j
cross join keys k on k.kind = j.value ->> 0 and k.key = j.value ->> 1
cross join tasks t on t.n = k.task
union all
select w.kind, w.key, w.id
from json_each(?1) j
cross join windows w on w.kind = j.value ->> 0 and w.key = j.value ->> 1
where w.until > ?2

-- name: LastNumber
select coalesce(max(n), 0) from tasks

-- name: AddTasks
insert into tasks (n, id, created, kind, queue, key, priority, run_at, meta, payload)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: AddWaiting
insert into waiting (task, id, kind, queue, due, priority, run_at, since, start_before)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: AddKeys
insert into keys (task, kind, key)
values (?, ?, ?)

-- name: AddWindows
-- replaces windows whose time is over
insert into windows (kind, key, id, until)
values (?, ?, ?, ?)
on conflict (kind, key) do update set id = excluded.id, until = excluded.until

-- name: Replaceable
select t.n, t.payload, w.task is not null, coalesce(r.by, '')
from tasks t left join waiting w on w.task = t.n left join replaced r on r.task = t.n where t.id = ?

-- name: ReplaceTask
update tasks set payload = ?2, meta = ?3, priority = ?4, run_at = ?5 where n = ?1

-- name: NoteReplaced
insert into replaced (task, first, by) values (?, ?, ?) on conflict (task) do update set by = excluded.by

-- name: ReplaceWaiting
-- the task restarts from the beginning
update waiting set due = ?2, priority = ?3, run_at = ?4, since = case interrupted when 1 then ?5 else since end, interrupted = 0, suspicion = 0,
	start_before = case runs when 0 then ?6 end, attempts = 0, crash_streak = 0, interrupt_streak = 0, reason = '' where task = ?1
