package sqlitestore

import (
	"context"
	"errors"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// Log implements task.Store.
func (s *Store) Log(ctx context.Context, id string) (body []byte, err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	err = s.read.QueryRowContext(ctx, `select coalesce(l.body, x'') from tasks t left join logs l on l.task = t.id where t.id = ?`, id).Scan(&body)
	if noRows(err) {
		return nil, task.ErrNotFound
	}
	return body, s.wrap(ctx, err)
}

// countSQL reads the narrow tables, and the numbers of what has ended.
const countSQL = `
select n.queue, n.kind, c.status, sum(c.n) from (
	select lane, iif(fresh, 'queued', 'interrupted') as status, count(*) as n from ready group by 1, 2
	union all
	select lane, iif(fresh, 'queued', 'interrupted'), count(*) from delayed group by 1, 2
	union all
	select lane, 'running', count(*) from leases group by 1
	union all
	select lane, status, n from tallies
) c join lanes n on n.n = c.lane
group by 1, 2, 3 having sum(c.n) > 0
union all
select queue, '', '', 0 from paused`

// Count implements task.Store.
func (s *Store) Count(ctx context.Context) (task.Counts, error) {
	if err := s.usable(ctx); err != nil {
		return task.Counts{}, err
	}
	counts, err := s.count(ctx)
	if err != nil {
		return task.Counts{}, s.wrap(ctx, err)
	}
	slices.Sort(counts.Paused)
	task.SortCounts(counts.Tasks)
	return counts, nil
}

func (s *Store) count(ctx context.Context) (counts task.Counts, err error) {
	rows, err := s.read.QueryContext(ctx, countSQL)
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c task.Count
		if err := rows.Scan(&c.Queue, &c.Kind, &c.Status, &c.N); err != nil {
			return counts, err
		}
		if c.Kind == "" {
			counts.Paused = append(counts.Paused, c.Queue)
		} else {
			counts.Tasks = append(counts.Tasks, c)
		}
	}
	return counts, rows.Err()
}

// Prune implements task.Store. It walks along the ids, which are ordered by time, and stops at the
// first task that is too young.
func (s *Store) Prune(ctx context.Context, req task.PruneRequest) (task.Pruned, error) {
	var done task.Pruned
	err := s.inTx(ctx, func(t *txn) error {
		done = task.Pruned{}
		before := s.now().UnixMicro() - req.Age.Microseconds()
		last, looked, err := page(t, req, before)
		if err != nil || looked == 0 {
			return err
		}
		if looked == req.Max {
			done.Next = last
		}
		const old = `id > ?1 and id <= ?2 and status in ('succeeded', 'failed', 'cancelled') and since <= ?3`
		for _, q := range []string{
			`delete from runs where task in (select id from tasks where ` + old + `)`,
			`delete from logs where task in (select id from tasks where ` + old + `)`,
			`update tallies set n = n - (select count(*) from tasks where ` + old + ` and tasks.lane = tallies.lane and tasks.status = tallies.status)`,
		} {
			if _, err := t.exec(q, req.After, last, before); err != nil {
				return err
			}
		}
		n, err := t.exec(`delete from tasks where `+old, req.After, last, before)
		done.Tasks = int(n)
		return err
	})
	if err != nil {
		return task.Pruned{}, err
	}
	return done, nil
}

// page looks along the ids, as far as the tasks are old.
func page(t *txn, req task.PruneRequest, before int64) (last string, looked int, err error) {
	rows, err := t.QueryContext(context.Background(), `select id, created from tasks where id > ? order by id limit ?`, req.After, req.Max)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			id      string
			created int64
		)
		if err := rows.Scan(&id, &created); err != nil {
			return "", 0, err
		}
		if created > before {
			break
		}
		last = id
		looked++
	}
	return last, looked, rows.Err()
}
