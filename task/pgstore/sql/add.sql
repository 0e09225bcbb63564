-- name: Add
-- Records new tasks. The answer is those that were left out, and why.
select array_agg(place), array_agg(coalesce(holder::text, '')), array_agg(existed), array_agg(conflict), array_agg(busy)
from @.add_tasks($1, $2, $3, $4, $5, $6, $7, $8, $9)
