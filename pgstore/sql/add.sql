-- name: Add
-- Records new tasks. Keys are taken first, by a function that does not wait long for anybody; tasks
-- that did not get theirs, and those whose id exists, are left out. It answers with the ids that were
-- added, unless all were, and with who has the keys.
with new as materialized (
	select unnest($1::uuid[]) as id, unnest($2::text[]) as kind, unnest($3::text[]) as queue, unnest($4::text[]) as key, unnest($5::bigint[]) as route,
		unnest($6::integer[]) as priority, unnest($7::bigint[]) as delay, unnest($8::bytea[]) as payload, generate_subscripts($1::uuid[], 1) as place
), keyed as materialized (
	select k.place, k.holder, k.existed from (select 1 where $10) any_key, @.take_keys($2, $4, $1) k
), added as (
	insert into @.tasks (id, kind, queue, key, route, priority, run_at, payload)
	select n.id, n.kind, n.queue, n.key, n.route, n.priority, case when n.delay > 0 then now() + n.delay * interval '1 microsecond' end, n.payload
	from new n left join keyed k on k.place = n.place
	where n.key is null or k.holder = n.id and not k.existed
	order by n.id
	on conflict (id) do nothing
	returning id, kind, queue, key, route, priority, run_at, payload
), into_ready as (
	insert into @.ready (id, kind, queue, key, route, sort_priority, payload)
	select id, kind, queue, key, route, ~priority, case when length(payload) <= $9 then payload end from added where run_at is null
), into_delayed as (
	insert into @.delayed (id, run_at, kind, queue, key, route, sort_priority)
	select id, run_at, kind, queue, key, route, ~priority from added where run_at is not null
), counted as (
	insert into @.counts (kind, queue, status, delta) select kind, queue, 'added', count(*) from added group by kind, queue
)
select (select coalesce(array_agg(id), '{}') from added having count(*) < cardinality($1::uuid[])), array_agg(k.place), array_agg(k.holder), array_agg(k.existed)
from keyed k
