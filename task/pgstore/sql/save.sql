-- name: SaveRuns
-- Writes checkpoints, steps, progress and logs of runs that go on. The runs are locked, so that
-- none ends meanwhile. Runs that another transaction has locked are skipped, and written one by one
-- later. The answer is the tasks whose changes were written, or no row if all were.
with changes as materialized (
	select unnest($1::uuid[]) as task, unnest($2::bigint[]) as run, unnest($3::uuid[]) as worker, unnest($4::integer[]) as attempts, unnest($5::integer[]) as interruptions,
		unnest($6::integer[]) as crashes, unnest($7::integer[]) as crash_streak, unnest($8::integer[]) as interrupt_streak,
		unnest($9::bytea[]) as checkpoint, unnest($10::double precision[]) as fraction, unnest($11::text[]) as message, unnest($12::bytea[]) as log,
		unnest($14::text[]) as step, unnest($15::integer[]) as place, unnest($16::text[]) as state, unnest($17::text[]) as version, unnest($18::bytea[]) as result
), locked as materialized (
	select task, run, worker, attempts, interruptions, crashes, crash_streak, interrupt_streak from @.running where task = any ($1::uuid[]) order by task for key share skip locked
), written as materialized (
	select c.task, c.run, nullif(c.attempts, 0) as attempts, nullif(c.interruptions, 0) as interruptions, nullif(c.crashes, 0) as crashes,
		nullif(c.crash_streak, 0) as crash_streak, nullif(c.interrupt_streak, 0) as interrupt_streak,
		c.checkpoint, nullif(c.fraction, '-1'::double precision) as fraction, nullif(c.message, '') as message, c.log,
		nullif(c.step, '') as step, c.place, c.state, nullif(c.version, '') as version, c.result,
		l.attempts as attempts_before, l.interruptions as interruptions_before, l.crashes as crashes_before,
		l.crash_streak as crash_streak_before, l.interrupt_streak as interrupt_streak_before
	-- As in FinishRuns.
	from changes c full join locked l on l.task = c.task and l.run = c.run and l.worker = c.worker
	where case when c.task is null or l.task is null then false else true end
), saved as (
	insert into @.checkpoints as k (task, run, attempts, interruptions, crashes, crash_streak, interrupt_streak, fraction, message, body)
	select task, run, attempts, interruptions, crashes, crash_streak, interrupt_streak, fraction, message, checkpoint from written
	-- A step alone needs no other row than its own, unless it has changed a counter.
	where step is null or checkpoint is not null or fraction is not null
		or (attempts, interruptions, crashes, crash_streak, interrupt_streak)
			is distinct from (attempts_before, interruptions_before, crashes_before, crash_streak_before, interrupt_streak_before)
	on conflict (task, step) do update set run = excluded.run, saved = case when excluded.body is null then k.saved else excluded.saved end,
		attempts = excluded.attempts, interruptions = excluded.interruptions, crashes = excluded.crashes,
		crash_streak = excluded.crash_streak, interrupt_streak = excluded.interrupt_streak,
		fraction = coalesce(excluded.fraction, k.fraction), message = case when excluded.fraction is null then k.message else excluded.message end, body = coalesce(excluded.body, k.body)
), stepped as (
	insert into @.checkpoints as k (task, step, run, body, place, state, version)
	select task, step, run, result, place, state, version from written where step is not null
	on conflict (task, step) do update set run = excluded.run, saved = excluded.saved, body = excluded.body,
		place = excluded.place, state = excluded.state, version = excluded.version
), logged as (
	insert into @.logs as l (task, body) select task, log from written where log is not null
	on conflict (task) do update set body = substring(l.body || excluded.body from greatest(length(l.body || excluded.body) - $13 + 1, 1))
)
select array_agg(task) from written having count(*) < cardinality($1::uuid[])
