-- name: Add
-- Records new tasks. The answer is the tasks that were left out, and why.
select array_agg(place), array_agg(coalesce(holder::text, '')), array_agg(existed), array_agg(conflict), array_agg(busy), array_agg(replaced)
from @.add_tasks($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::integer[], $7::bigint[], $8::bytea[], $9::text[], $10::bigint[], $11::integer,
	$12::bigint[], $13::integer[], $14::integer[])
