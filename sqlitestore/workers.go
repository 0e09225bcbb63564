package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Heartbeat implements task.Store. The worker's lock is taken before it is registered, and let go
// when it has left.
func (s *Store) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	boot := ""
	if b.Seq == 1 {
		if err := s.usable(ctx); err != nil {
			return task.BeatReply{}, err
		}
		var err error
		if boot, err = s.locks.take(b.Worker); err != nil {
			return task.BeatReply{}, s.wrap(ctx, err)
		}
	}
	var (
		reply   task.BeatReply
		removed bool
	)
	err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
		if b.Seq == 1 {
			if err := register(ctx, tx, b, boot, s.now()); err != nil {
				return err
			}
		}
		if err := registered(ctx, tx, b.Worker); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `update workers set seq = ?, state = ? where id = ? and seq < ?`,
			b.Seq, b.State, b.Worker, b.Seq); err != nil {
			return err
		}
		if reply.Lost, err = lost(ctx, tx, b.Runs); err != nil || b.State != task.WorkerLeft {
			return err
		}
		res, err := tx.ExecContext(ctx, `delete from workers where id = ? and not exists (select 1 from leases where worker = ?)`, b.Worker, b.Worker)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		removed = n == 1
		return err
	})
	switch {
	case err != nil && b.Seq == 1 && !errors.Is(err, task.ErrWorkerGone):
		s.locks.release(b.Worker, true)
	case err == nil && b.State == task.WorkerLeft:
		s.locks.release(b.Worker, removed)
	case errors.Is(err, task.ErrWorkerGone):
		s.locks.release(b.Worker, true)
	}
	return reply, err
}

func register(ctx context.Context, tx *sql.Tx, b task.Beat, boot string, now time.Time) error {
	kinds, err := json.Marshal(b.Kinds)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `insert into workers (id, name, host, pid, kinds, lease, seq, state, since, boot)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing`,
		b.Worker, b.Name, b.Host, b.PID, string(kinds), b.Lease.Microseconds(), b.Seq, b.State, now.UnixMicro(), boot)
	return err
}

// lost lists the runs that nobody holds by that fence.
func lost(ctx context.Context, tx *sql.Tx, runs []task.Fence) ([]task.Fence, error) {
	var gone []task.Fence
	for _, f := range runs {
		var held bool
		err := tx.QueryRowContext(ctx, `select exists (select 1 from leases where worker = ? and task = ? and run = ?)`,
			f.Worker, f.Task, f.Run).Scan(&held)
		if err != nil {
			return nil, err
		}
		if !held {
			gone = append(gone, f)
		}
	}
	return gone, nil
}

// Workers implements task.Store.
func (s *Store) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	all, boots, err := s.workers(ctx)
	if err != nil {
		return nil, s.wrap(ctx, err)
	}
	for i := range all {
		all[i].Life = s.locks.life(all[i].Worker, boots[i])
	}
	return all, nil
}

func (s *Store) workers(ctx context.Context) (all []task.WorkerInfo, boots []string, err error) {
	rows, err := s.read.QueryContext(ctx, `select id, name, host, pid, kinds, lease, seq, state, since, boot, dead from workers order by id`)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			w            task.WorkerInfo
			kinds, boot  string
			lease, since int64
		)
		if err := rows.Scan(&w.Worker, &w.Name, &w.Host, &w.PID, &kinds, &lease, &w.Seq, &w.State, &since, &boot, &w.Dead); err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal([]byte(kinds), &w.Kinds); err != nil {
			return nil, nil, err
		}
		w.Lease, w.Since = time.Duration(lease)*time.Microsecond, at(since)
		all, boots = append(all, w), append(boots, boot)
	}
	return all, boots, rows.Err()
}

// Reclaim implements task.Store. On evidence it holds the dead worker's lock until its transaction
// has committed; the lock file goes with the worker's row.
func (s *Store) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.Reclaimed, error) {
	if err := s.usable(ctx); err != nil {
		return task.Reclaimed{}, err
	}
	seized := s.locks.seize(req.Worker)
	defer seized.release()
	var left task.Reclaimed
	err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
		left, err = mark(ctx, tx, req, seized)
		if err != nil || left.Done {
			return err
		}
		left.Tasks, err = held(ctx, tx, req)
		if err != nil || len(left.Tasks) > 0 {
			return err
		}
		left.Done = true
		_, err = tx.ExecContext(ctx, `delete from workers where id = ?`, req.Worker)
		return err
	})
	if err != nil {
		return task.Reclaimed{}, err
	}
	if left.Done {
		seized.remove()
	}
	return left, nil
}

// mark marks a worker dead, if it is not yet, on the ground that the request gives.
func mark(ctx context.Context, tx *sql.Tx, req task.ReclaimRequest, seized *seizure) (task.Reclaimed, error) {
	var (
		left task.Reclaimed
		seq  uint64
		boot string
		dead bool
	)
	err := tx.QueryRowContext(ctx, `select seq, state, boot, dead, evidence from workers where id = ?`, req.Worker).
		Scan(&seq, &left.State, &boot, &dead, &left.Evidence)
	if errors.Is(err, sql.ErrNoRows) {
		left.Done = true
		return left, nil
	}
	if err != nil || dead {
		return left, err
	}
	if req.Evidence && !seized.proves(boot) || !req.Evidence && seq != req.Seq {
		return left, task.ErrWorkerAlive
	}
	left.Evidence = req.Evidence
	_, err = tx.ExecContext(ctx, `update workers set dead = 1, evidence = ? where id = ?`, req.Evidence, req.Worker)
	return left, err
}

// held lists the running tasks of a worker.
func held(ctx context.Context, tx *sql.Tx, req task.ReclaimRequest) (tasks []task.Task, err error) {
	rows, err := tx.QueryContext(ctx, `select `+taskColumns+` from tasks
		where id in (select task from leases where worker = ? order by task limit ?) order by id`, req.Worker, req.Max)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		t, err := scanTask(rows)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	return tasks, rows.Err()
}

// sweepLocks removes lock files whose worker is not registered and whose lock is free: what a
// process left that died before it was registered.
func (s *Store) sweepLocks(ctx context.Context) {
	for _, worker := range s.locks.names() {
		seized := s.locks.seize(worker)
		if seized.held() {
			var one int
			err := s.read.QueryRowContext(ctx, `select 1 from workers where id = ?`, worker).Scan(&one)
			if errors.Is(err, sql.ErrNoRows) {
				seized.remove()
			}
		}
		seized.release()
	}
}
