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
	registerSQL = `insert into @.workers (id, n, name, kinds, lease, seq, state) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (id) do nothing`
	// Who has been left something by a worker needs its row.
	removeSQL = `delete from @.workers w where id = $1 and state = 'left' and not exists (select 1 from @.claims where worker = w.n)`
)

// beatSQL answers with a row for itself, and one for each run that is lost, by its number in the
// list, or of which something was asked. A run that this process knows to have can only have been lost to somebody who wrote its
// number into the task's state.
var beatSQL = `
	with beat as (
		update @.workers set seq = greatest(seq, $2), state = case when seq < $2 then $3 else state end
		where id = $1 and not dead returning n
	), ` + clearing(`$8`) + `, listed as (
		select c.* from unnest($4::uuid[], $5::bigint[], $6::text[], $7::boolean[]) with ordinality as c(task, run, worker, known, nr)
	)
	select 0::bigint as lost, null::uuid as task, 0::bigint as run, '' as asked from beat
	union all
	select c.nr, null, 0, '' from listed c where c.known and not exists (
		select 1 from @.tasks t left join @.states s on s.task = t.id where t.id = c.task and coalesce(s.run, 0) < c.run)
	union all
	select c.nr, null, 0, '' from listed c where not c.known and not exists (
		select 1 from @.tasks t left join @.states s on s.task = t.id, @.incarnations i join @.claims k on k.worker = i.n
		where t.id = c.task and coalesce(s.run, 0) < c.run and i.id = c.worker and k.run = c.run and t.id = any (k.tasks) and ` + inNoSheet + `)
	union all
	select 0, a.task, a.run, a.verb from beat b join @.asked a on a.worker = b.n
	order by lost, task`

// Heartbeat implements task.Store. The worker's lock is taken when it is registered, and let go when
// it has left.
func (s *Store) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	var reply task.BeatReply
	err := s.again(ctx, func(ctx context.Context) error {
		if b.Seq == 1 {
			if err := s.register(ctx, b); err != nil {
				return err
			}
		}
		var (
			known bool
			err   error
		)
		if known, reply, err = s.beat(ctx, b); err != nil {
			return err
		}
		if !known {
			s.drop(ctx, b.Worker)
			return task.ErrWorkerGone
		}
		if b.Complete {
			if reply.Unlisted, err = s.unlisted(ctx, b); err != nil {
				return err
			}
		}
		if b.State == task.WorkerLeft || s.holdings.needsSweep(b.Worker) {
			if err := s.sweep(ctx, b.Worker); err != nil { // it is tidying, and the beat has been heard
				s.log.Warn("what a worker's ended claims have left could not be cleared up; it will be tried again", "worker", b.Worker, "error", err)
			}
		}
		if b.State != task.WorkerLeft {
			return nil
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

// register gives a worker its number, writes its row, and takes its lock, which the row names as
// evidence only then.
func (s *Store) register(ctx context.Context, b task.Beat) error {
	var n int32
	if err := s.pool.QueryRow(ctx, s.q.incarnate, b.Worker, b.Host, small(b.PID)).Scan(&n); err != nil {
		return err
	}
	kinds := b.Kinds
	if kinds == nil {
		kinds = []string{}
	}
	_, err := s.pool.Exec(ctx, s.q.register, b.Worker, n, b.Name, kinds, b.Lease.Microseconds(), int64(b.Seq), string(b.State))
	if err == nil {
		s.session.lock(ctx, b.Worker)
		s.warm()
	}
	return err
}

// drop lets go of a worker's lock.
func (s *Store) drop(ctx context.Context, worker string) {
	s.holdings.forget(worker)
	s.session.unlock(ctx, worker)
}

// beat renews a worker, unless it is not known, and tells what it may not know.
func (s *Store) beat(ctx context.Context, b task.Beat) (known bool, reply task.BeatReply, err error) {
	l, over := listOf(b.Runs), s.holdings.takeOver()
	ours := make([]bool, len(b.Runs))
	for i, f := range b.Runs {
		ours[i] = s.holdings.knows(f, l.tasks[i])
	}
	defer func() {
		if err != nil {
			s.holdings.giveBack(over)
		}
	}()
	// What the server answers is read into a place of its own: it may come after ctx has ended.
	answer := new([]beatRow)
	err = s.session.exec(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, s.q.beat, b.Worker, int64(b.Seq), string(b.State), l.tasks, l.runs, l.workers, ours, over)
		if err != nil {
			return err
		}
		*answer, err = pgx.CollectRows(rows, pgx.RowToStructByPos[beatRow])
		return err
	})
	if err != nil {
		return false, reply, err
	}
	for _, row := range *answer {
		switch {
		case row.Lost > 0:
			reply.Lost = append(reply.Lost, b.Runs[row.Lost-1])
		case row.Task == nil:
			known = true
		default:
			reply.Asked = append(reply.Asked, task.Asked{Fence: task.Fence{Task: formatID(*row.Task), Run: row.Run, Worker: b.Worker}, Verb: task.Verb(row.Verb)})
		}
	}
	return known, reply, nil
}

// beatRow is a row of the answer of beatSQL.
type beatRow struct {
	Lost int64
	Task *[16]byte
	Run  int64
	Verb string
}

// fenceList is the columns of some fences.
type fenceList struct {
	tasks   [][16]byte
	runs    []int64
	workers []string
}

func listOf(fences []task.Fence) fenceList {
	l := fenceList{tasks: make([][16]byte, len(fences)), runs: make([]int64, len(fences)), workers: make([]string, len(fences))}
	for i, f := range fences {
		l.tasks[i], _ = parseID(f.Task) // the nil UUID is nobody's
		l.runs[i], l.workers[i] = f.Run, f.Worker
	}
	return l
}

// unlisted reads the runs that a worker holds and did not list.
func (s *Store) unlisted(ctx context.Context, b task.Beat) ([]task.Task, error) {
	l := listOf(b.Runs)
	rows, err := s.pool.Query(ctx, s.q.unlisted, b.Worker, l.tasks, l.runs)
	if err != nil {
		return nil, err
	}
	tasks, lanes, err := collectTasks(rows)
	if err != nil {
		return nil, err
	}
	s.holdings.adopt(tasks)
	return tasks, s.nameLanes(ctx, tasks, lanes)
}

// workersSQL tries each worker's lock, in a mode that does not disturb other processes; the
// statement's end lets go of what it got.
var workersSQL = `
select w.id, w.name, i.host, i.pid, w.kinds, w.lease, w.seq, w.state, i.since, w.dead,
	case when w.boot is distinct from pg_postmaster_start_time() then null
		else pg_try_advisory_xact_lock_shared(` + lockKey("w.id") + `) end, w.confirm
from @.workers w join @.incarnations i on i.n = w.n order by w.id`

// Workers implements task.Store.
func (s *Store) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	var all []task.WorkerInfo
	err := s.again(ctx, func(ctx context.Context) error {
		all = nil
		var locks []lockReading
		asked := time.Now()
		rows, err := s.pool.Query(ctx, s.q.workers)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (task.WorkerInfo, error) {
			var (
				w                   task.WorkerInfo
				lease, seq, confirm int64
				l                   lockReading
			)
			err := row.Scan(&w.Worker, &w.Name, &w.Host, &w.PID, &w.Kinds, &lease, &seq, &w.State, &w.Since, &w.Dead, &l.free, &confirm)
			w.Lease, w.Seq = time.Duration(lease)*time.Microsecond, uint64(seq)
			l.confirm = time.Duration(confirm) * time.Microsecond
			locks = append(locks, l)
			return w, err
		})
		if err == nil {
			s.detector.assess(all, locks, asked, s.session.lostFor())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
