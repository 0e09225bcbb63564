-- Statements of Add.

-- name: ExistingIDs
select t.id, t.kind, t.payload from json_each(?) j cross join tasks t on t.id = j.value

-- name: KeyHolders
-- for a list of pairs of a kind and a key
select k.kind, k.key, t.id
from json_each(?) j
cross join keys k on k.kind = j.value ->> 0 and k.key = j.value ->> 1
cross join tasks t on t.n = k.task

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
