package pgstore

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

const (
	logSQL = `select coalesce(l.body, '') from @.tasks t left join @.logs l on l.task = t.id where t.id = $1`

	logOneSQL = `insert into @.logs as o (task, body) values ($1::uuid, $2)
		on conflict (task) do update set body = substring(o.body || excluded.body from greatest(length(o.body || excluded.body) - 65535, 1))`

	// countSQL reads the narrow tables, and the sums for what has ended.
	countSQL = `
	select n.queue, n.kind, c.status, sum(c.n)::bigint from (
		select lane, case when fresh then 'queued' else 'interrupted' end as status, count(*) as n from @.ready group by 1, 2
		union all
		select lane, case when fresh then 'queued' else 'interrupted' end, count(*) from @.delayed group by 1, 2
		union all
		select lane, 'interrupted', sum(cardinality(tasks)) from @.interruptions group by 1
		union all
		select lane, 'running', count(*) from @.running group by 1
		union all
		select lane, status, n from @.tallies
	) c join @.lanes n on n.n = c.lane
	group by 1, 2, 3 having sum(c.n) > 0
	union all
	select queue, '', '', 0 from @.paused`

	pageSQL = `select id, created < now() - $3 * interval '1 microsecond' from @.tasks where id > $1 order by id limit $2`

	// Another pruning that is at the same tasks is left to it. A task stays while a claim names it, since another
	// task of that claim runs: its id may come again, and an old end of the one must not end the other.
	pruneSQL = `
	with old as (
		select t.id, s.status from @.tasks t join @.states s on s.task = t.id
		where t.id > $1 and t.id <= $2 and s.status in ('succeeded', 'failed', 'cancelled') and s.since < now() - $3 * interval '1 microsecond'
			and not exists (select 1 from @.members m where m.task = t.id) order by t.id for update of t, s skip locked
	), gone as (
		delete from @.tasks t using old where t.id = old.id returning t.id, t.lane, old.status
	), states as (
		delete from @.states s using gone where s.task = gone.id
	), runs as (
		delete from @.runs r using gone where r.task = gone.id
	), logs as (
		delete from @.logs l using gone where l.task = gone.id
	), failures as (
		delete from @.failures f using gone where f.id = gone.id
	), counted as (
		insert into @.tallies (lane, status, n) select lane, status, -count(*) from gone group by 1, 2
	)
	select count(*) from gone`

	// foldSQL adds up the changes of the tallies, if nobody else does.
	foldSQL = `
	with gone as (
		delete from @.tallies where (select pg_try_advisory_xact_lock('@.'::regnamespace::oid::integer, 0)) returning lane, status, n
	)
	insert into @.tallies (lane, status, n) select lane, status, sum(n) from gone group by 1, 2`
)

// pruneSheetsSQL removes sheets that end between two ids, with their tasks.
var pruneSheetsSQL = `
	with sheets as (
		delete from @.successes where ctid = any (array(
			select ctid from @.successes s where ms between @.ms($1::uuid) - ` + strconv.Itoa(maxSpan) + ` and @.ms($2::uuid) and last > $1::uuid and last <= $2::uuid
				and since < now() - $3 * interval '1 microsecond' and not exists (select 1 from @.claims c where c.n = s.claim) for update skip locked
		))
		returning lane, tasks
	), gone as (
		delete from @.tasks t using sheets s, unnest(s.tasks) as m(task) where t.id = m.task returning t.id
	), states as (
		delete from @.states s using gone where s.task = gone.id
	), logs as (
		delete from @.logs l using gone where l.task = gone.id
	), counted as (
		insert into @.tallies (lane, status, n) select lane, 'succeeded', -sum(cardinality(tasks)) from sheets group by 1
	)
	select count(*) from gone`

// Log implements task.Store.
func (s *Store) Log(ctx context.Context, id string) ([]byte, error) {
	var body []byte
	err := s.again(ctx, func(ctx context.Context) error {
		key, ok := parseID(id)
		if !ok {
			return task.ErrNotFound
		}
		err := s.pool.QueryRow(ctx, s.q.log, key).Scan(&body)
		if errors.Is(err, pgx.ErrNoRows) {
			return task.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Count implements task.Store.
func (s *Store) Count(ctx context.Context) (task.Counts, error) {
	var counts task.Counts
	err := s.again(ctx, func(ctx context.Context) error {
		counts = task.Counts{}
		rows, err := s.pool.Query(ctx, s.q.count)
		if err != nil {
			return err
		}
		var c task.Count
		_, err = pgx.ForEachRow(rows, []any{&c.Queue, &c.Kind, &c.Status, &c.N}, func() error {
			if c.Kind == "" {
				counts.Paused = append(counts.Paused, c.Queue)
			} else {
				counts.Tasks = append(counts.Tasks, c)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return task.Counts{}, err
	}
	slices.Sort(counts.Paused)
	task.SortCounts(counts.Tasks)
	return counts, nil
}

// Prune implements task.Store. It walks along the ids, which are ordered by time, and stops at the
// first task that is too young.
func (s *Store) Prune(ctx context.Context, req task.PruneRequest) (task.Pruned, error) {
	var done task.Pruned
	err := s.once(ctx, func(ctx context.Context) error {
		done = task.Pruned{}
		if err := s.clear(ctx); err != nil {
			return err
		}
		var after, last, id [16]byte
		if req.After != "" {
			var err error
			if after, err = mustID(req.After); err != nil {
				return err
			}
		} else if _, err := s.pool.Exec(ctx, s.q.fold); err != nil {
			return err
		}
		rows, err := s.pool.Query(ctx, s.q.page, after, req.Max, req.Age.Microseconds())
		if err != nil {
			return err
		}
		var (
			old    bool
			looked int
			more   = true
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &old}, func() error {
			if more = more && old; more {
				last = id
				looked++
			}
			return nil
		})
		if err != nil || looked == 0 {
			return err
		}
		if more && looked == req.Max {
			done.Next = formatID(last)
		}
		var onSheets int
		if err := s.pool.QueryRow(ctx, s.q.pruneSheets, after, last, req.Age.Microseconds()).Scan(&onSheets); err != nil {
			return err
		}
		err = s.pool.QueryRow(ctx, s.q.prune, after, last, req.Age.Microseconds()).Scan(&done.Tasks)
		done.Tasks += onSheets
		return err
	})
	if err != nil {
		return task.Pruned{}, err
	}
	return done, nil
}
