package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Add implements task.Store.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]bool, error) {
	added := make([]bool, len(tasks))
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		now := s.now().UnixMicro()
		for i, n := range tasks {
			runAt := now + n.Delay.Microseconds()
			res, err := tx.ExecContext(ctx, `insert into tasks (id, kind, payload, priority, status, created, since, run_at)
				values (?, ?, ?, ?, 'queued', ?, ?, ?) on conflict (id) do nothing`,
				n.ID, n.Kind, blob(n.Payload), n.Priority, now, now, runAt)
			if err != nil {
				return err
			}
			count, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if added[i] = count == 1; !added[i] {
				continue
			}
			if err := makeReady(ctx, tx, n.ID, n.Kind, n.Priority, task.Queued, runAt); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return added, nil
}

// blob is an empty value rather than NULL for a payload of nothing.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func makeReady(ctx context.Context, tx *sql.Tx, id, kind string, priority int, status task.Status, runAt int64) error {
	_, err := tx.ExecContext(ctx, `insert into ready (kind, priority, fresh, run_at, id) values (?, ?, ?, ?, ?)`,
		kind, priority, status == task.Queued, runAt, id)
	return err
}

// candidate is a row of ready.
type candidate struct {
	kind     string
	priority int
	fresh    int
	runAt    int64
	id       string
	caps     task.Caps
}

// Claim implements task.Store. It looks without a transaction first: an idle worker writes nothing.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	now := s.now()
	if some, err := candidates(ctx, s.read, req, now.UnixMicro()); err != nil {
		return nil, s.wrap(ctx, err)
	} else if len(some) == 0 {
		return nil, s.wrap(ctx, registered(ctx, s.read, req.Worker))
	}
	var got []task.Task
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := registered(ctx, tx, req.Worker); err != nil {
			return err
		}
		some, err := candidates(ctx, tx, req, now.UnixMicro())
		if err != nil {
			return err
		}
		for _, c := range some {
			t, err := lease(ctx, tx, c, req.Worker, now)
			if err != nil {
				return err
			}
			got = append(got, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// registered is ErrWorkerGone unless the worker may claim.
func registered(ctx context.Context, q queryer, worker string) error {
	var one int
	err := q.QueryRowContext(ctx, `select 1 from workers where id = ? and dead = 0`, worker).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return task.ErrWorkerGone
	}
	return err
}

// candidates are the rows that a claim takes, in its order: the best of each kind, merged.
func candidates(ctx context.Context, q queryer, req task.ClaimRequest, now int64) ([]candidate, error) {
	var all []candidate
	for _, k := range req.Kinds {
		some, err := best(ctx, q, k, min(k.Max, req.Max), now)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(-cmp.Compare(a.priority, b.priority), cmp.Compare(a.fresh, b.fresh),
			cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.id, b.id))
	})
	return all[:min(len(all), max(req.Max, 0))], nil
}

func best(ctx context.Context, q queryer, k task.KindClaim, limit int, now int64) (some []candidate, err error) {
	if limit <= 0 {
		return nil, nil
	}
	rows, err := q.QueryContext(ctx, `select priority, fresh, run_at, id from ready
		where kind = ? and run_at <= ? order by priority desc, fresh, run_at, id limit ?`, k.Kind, now, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c := candidate{kind: k.Kind, caps: k.Caps}
		if err := rows.Scan(&c.priority, &c.fresh, &c.runAt, &c.id); err != nil {
			return nil, err
		}
		some = append(some, c)
	}
	return some, rows.Err()
}

// lease moves a task from ready to leases and begins its run.
func lease(ctx context.Context, tx *sql.Tx, c candidate, worker string, now time.Time) (task.Task, error) {
	us := now.UnixMicro()
	row := tx.QueryRowContext(ctx, `update tasks set status = 'running', since = ?, started = ?, worker = ?,
			run = max(run + 1, ?), runs = runs + 1, max_attempts = ?, max_crashes = ?
		where id = ? returning `+taskColumns,
		us, us, worker, now.UnixMilli(), c.caps.MaxAttempts, c.caps.MaxCrashes, c.id)
	t, err := scanTask(row)
	if err != nil {
		return t, err
	}
	for _, s := range []struct {
		sql  string
		args []any
	}{
		{`delete from ready where kind = ? and priority = ? and fresh = ? and run_at = ? and id = ?`,
			[]any{c.kind, c.priority, c.fresh, c.runAt, c.id}},
		{`insert into leases (worker, task, run) values (?, ?, ?)`, []any{worker, t.ID, t.Run}},
		{`insert into runs (task, run, worker, host, pid, started, status)
			select ?, ?, id, host, pid, ?, 'running' from workers where id = ?`, []any{t.ID, t.Run, us, worker}},
	} {
		if _, err := tx.ExecContext(ctx, s.sql, s.args...); err != nil {
			return t, err
		}
	}
	return t, nil
}
