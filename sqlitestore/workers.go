package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
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
	err := s.inTx(ctx, func(tx *txn) (err error) {
		if b.Seq == 1 {
			if err := register(tx, b, boot, s.now()); err != nil {
				return err
			}
		}
		n, err := registered(ctx, tx, b.Worker)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`update workers set seq = ?, state = ? where id = ? and seq < ?`,
			b.Seq, b.State, b.Worker, b.Seq); err != nil {
			return err
		}
		if reply, err = s.reply(ctx, tx, b, n); err != nil || b.State != task.WorkerLeft {
			return err
		}
		gone, err := tx.exec(`delete from workers where id = ? and not exists (select 1 from leases where worker = ?)`, b.Worker, n)
		removed = gone == 1
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

func register(tx *txn, b task.Beat, boot string, now time.Time) error {
	kinds, err := json.Marshal(b.Kinds)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`insert into incarnations (id, host, pid) values (?, ?, ?) on conflict (id) do nothing`, b.Worker, b.Host, b.PID); err != nil {
		return err
	}
	_, err = tx.exec(`insert into workers (id, n, name, kinds, lease, seq, state, since, boot)
		select ?, n, ?, ?, ?, ?, ?, ?, ? from incarnations where id = ? on conflict (id) do nothing`,
		b.Worker, b.Name, string(kinds), b.Lease.Microseconds(), b.Seq, b.State, now.UnixMicro(), boot, b.Worker)
	return err
}

// reply is what a worker may not know.
func (s *Store) reply(ctx context.Context, tx *txn, b task.Beat, n int64) (reply task.BeatReply, err error) {
	list := make([][2]any, len(b.Runs))
	for i, f := range b.Runs {
		list[i] = [2]any{f.Task, f.Run}
		var held bool
		err := tx.QueryRowContext(ctx, `select exists (select 1 from leases where task = ? and run = ? and worker = (select n from incarnations where id = ?))`,
			f.Task, f.Run, f.Worker).Scan(&held)
		if err != nil {
			return reply, err
		}
		if !held {
			reply.Lost = append(reply.Lost, f)
		}
	}
	if reply.Asked, err = asked(ctx, tx, b.Worker, n); err != nil || !b.Complete {
		return reply, err
	}
	listed, err := json.Marshal(list)
	if err != nil {
		return reply, err
	}
	reply.Unlisted, err = s.tasks(ctx, tx, `where l.worker = ? and (l.task, l.run) not in (select value ->> 0, value ->> 1 from json_each(?)) order by t.id`,
		n, string(listed))
	return reply, err
}

// asked lists what was asked of a worker's runs, by an index that has only those.
func asked(ctx context.Context, tx *txn, worker string, n int64) (all []task.Asked, err error) {
	rows, err := tx.QueryContext(ctx, `select task, run, asked from leases where worker = ? and asked <> '' order by task`, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		a := task.Asked{Fence: task.Fence{Worker: worker}}
		if err := rows.Scan(&a.Task, &a.Run, &a.Verb); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, rows.Err()
}

// ShareLock returns another descriptor of the lock of a worker of this process, to be handed to a
// process that works for it. The lock is held until the last descriptor is closed: as long as such a
// process lives, nobody takes this one for dead by evidence, though its lease may run out. Only a
// process to which the file is handed inherits it. The caller closes it.
//
// ErrWorkerGone means that this process holds no lock of that worker, errors.ErrUnsupported that
// files cannot be locked on this system.
func (s *Store) ShareLock(worker string) (*os.File, error) { return s.locks.share(worker) }

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
	rows, err := s.read.QueryContext(ctx, `select w.id, name, host, pid, kinds, lease, seq, state, since, boot, dead
		from workers w join incarnations i on i.n = w.n order by w.id`)
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
	err := s.inTx(ctx, func(tx *txn) (err error) {
		left, err = mark(ctx, tx, req, seized)
		if err != nil || left.Done {
			return err
		}
		left.Tasks, err = s.tasks(ctx, tx, `where t.id in (select task from leases
			where worker = (select n from workers where id = ?) order by task limit ?) order by t.id`, req.Worker, req.Max)
		if err != nil || len(left.Tasks) > 0 {
			return err
		}
		left.Done = true
		_, err = tx.exec(`delete from workers where id = ?`, req.Worker)
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
func mark(ctx context.Context, tx *txn, req task.ReclaimRequest, seized *seizure) (task.Reclaimed, error) {
	var (
		left task.Reclaimed
		seq  uint64
		boot string
		dead bool
	)
	err := tx.QueryRowContext(ctx, `select seq, state, boot, dead, evidence, suspects from workers where id = ?`, req.Worker).
		Scan(&seq, &left.State, &boot, &dead, &left.Evidence, &left.Suspects)
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
	err = tx.QueryRowContext(ctx, `update workers set dead = 1, evidence = ?,
		suspects = exists (select 1 from leases l where l.worker = workers.n and l.suspect) where id = ? returning suspects`,
		req.Evidence, req.Worker).Scan(&left.Suspects)
	return left, err
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
