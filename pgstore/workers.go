package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

const (
	incarnateSQL = `insert into @.incarnations (id, host, pid, since) values ($1, $2, $3, now())
		on conflict (id) do update set id = excluded.id returning n`
	registerSQL = `insert into @.workers (id, n, name, kinds, lease, seq, state, boot) values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (id) do nothing`
	beatSQL = `update @.workers set seq = greatest(seq, $2), state = case when seq < $2 then $3 else state end
		where id = $1 and not dead`
	lostSQL = `select f.nr from unnest($1::uuid[], $2::bigint[], $3::text[]) with ordinality as f(task, run, worker, nr)
		where not exists (select 1 from @.leases l join @.incarnations i on i.n = l.worker
			where l.task = f.task and l.run = f.run and i.id = f.worker)
		order by f.nr`
	// Who has been left something by a worker needs its row.
	removeSQL = `delete from @.workers w where id = $1 and state = 'left' and not exists (select 1 from @.leases where worker = w.n)`
)

// Heartbeat implements task.Store. The worker's lock is taken before it is registered, and let go
// when it has left.
func (s *Store) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	var reply task.BeatReply
	err := s.call(ctx, func(ctx context.Context) error {
		if b.Seq == 1 {
			if err := s.register(ctx, b); err != nil {
				return err
			}
		}
		tag, err := s.pool.Exec(ctx, s.q.beat, b.Worker, int64(b.Seq), string(b.State))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			s.drop(ctx, b.Worker)
			return task.ErrWorkerGone
		}
		if reply, err = s.reply(ctx, b); err != nil || b.State != task.WorkerLeft {
			return err
		}
		if _, err := s.pool.Exec(ctx, s.q.remove, b.Worker); err != nil {
			return err
		}
		s.drop(ctx, b.Worker)
		return nil
	})
	if err != nil {
		return task.BeatReply{}, err
	}
	return reply, nil
}

// register gives a worker its number, takes its lock, and writes its row, in this order: a
// registered worker whose lock is free is dead.
func (s *Store) register(ctx context.Context, b task.Beat) error {
	var n int32
	if err := s.pool.QueryRow(ctx, s.q.incarnate, b.Worker, b.Host, small(b.PID)).Scan(&n); err != nil {
		return err
	}
	s.mu.Lock()
	s.numbers[b.Worker] = n
	s.mu.Unlock()
	boot := s.line.take(ctx, n)
	kinds := b.Kinds
	if kinds == nil {
		kinds = []string{}
	}
	_, err := s.pool.Exec(ctx, s.q.register, b.Worker, n, b.Name, kinds, b.Lease.Microseconds(), int64(b.Seq), string(b.State), boot)
	return err
}

// drop lets go of a worker's lock.
func (s *Store) drop(ctx context.Context, worker string) {
	s.mu.Lock()
	n, ok := s.numbers[worker]
	delete(s.numbers, worker)
	s.mu.Unlock()
	if ok {
		s.line.drop(ctx, n)
	}
}

// askedSQL finds a worker's runs of which something was asked, by an index that has only those.
const askedSQL = `select l.task, l.run, l.asked from @.leases l
	where l.worker = (select n from @.incarnations where id = $1) and l.asked <> '' order by l.task`

// reply is what a worker may not know.
func (s *Store) reply(ctx context.Context, b task.Beat) (reply task.BeatReply, err error) {
	if reply.Lost, err = s.lost(ctx, b.Runs); err != nil {
		return reply, err
	}
	rows, err := s.pool.Query(ctx, s.q.asked, b.Worker)
	if err != nil {
		return reply, err
	}
	reply.Asked, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (task.Asked, error) {
		a := task.Asked{Fence: task.Fence{Worker: b.Worker}}
		var id [16]byte
		err := row.Scan(&id, &a.Run, &a.Verb)
		a.Task = formatID(id)
		return a, err
	})
	if err != nil || !b.Complete {
		return reply, err
	}
	tasks, numbers := make([][16]byte, len(b.Runs)), make([]int64, len(b.Runs))
	for i, f := range b.Runs {
		tasks[i], _ = parseID(f.Task)
		numbers[i] = f.Run
	}
	rows, err = s.pool.Query(ctx, s.q.unlisted, b.Worker, tasks, numbers)
	if err != nil {
		return reply, err
	}
	var lanes []int32
	if reply.Unlisted, lanes, err = collectTasks(rows); err != nil {
		return reply, err
	}
	return reply, s.nameLanes(ctx, reply.Unlisted, lanes)
}

// lost lists the runs that nobody holds by that fence.
func (s *Store) lost(ctx context.Context, runs []task.Fence) ([]task.Fence, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	var (
		tasks   = make([][16]byte, len(runs))
		numbers = make([]int64, len(runs))
		workers = make([]string, len(runs))
	)
	for i, f := range runs {
		tasks[i], _ = parseID(f.Task) // the nil UUID is nobody's
		numbers[i], workers[i] = f.Run, f.Worker
	}
	rows, err := s.pool.Query(ctx, s.q.lost, tasks, numbers, workers)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (task.Fence, error) {
		var nr int64
		if err := row.Scan(&nr); err != nil {
			return task.Fence{}, err
		}
		return runs[nr-1], nil
	})
}

// workersSQL tries each worker's lock, in a mode that does not disturb other observers; the
// statement's end lets go of what it got.
const workersSQL = `
select w.id, w.n, w.name, i.host, i.pid, w.kinds, w.lease, w.seq, w.state, i.since, w.dead,
	case when w.boot is distinct from pg_postmaster_start_time() then null
		else pg_try_advisory_xact_lock_shared('@.'::regnamespace::oid::integer, w.n) end
from @.workers w join @.incarnations i on i.n = w.n order by w.id`

// Workers implements task.Store.
func (s *Store) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	var all []task.WorkerInfo
	err := s.call(ctx, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.q.workers)
		if err != nil {
			return err
		}
		var free []*bool
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (task.WorkerInfo, error) {
			var (
				w          task.WorkerInfo
				n          int32
				lease, seq int64
				f          *bool
			)
			err := row.Scan(&w.Worker, &n, &w.Name, &w.Host, &w.PID, &w.Kinds, &lease, &seq, &w.State, &w.Since, &w.Dead, &f)
			w.Lease, w.Seq = time.Duration(lease)*time.Microsecond, uint64(seq)
			free = append(free, f)
			return w, err
		})
		if err == nil {
			s.observer.judge(all, free, s.line.lostAgo())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
