package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// queryer is a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// taskSQL and scanTask belong together. A task that has a lease runs, whatever its row says.
const taskSQL = `select t.id, t.lane, t.key, t.payload, t.priority, iif(l.task is null, t.status, 'running'), t.reason, t.error,
	t.created, coalesce(l.started, t.since), t.run_at, coalesce(l.started, t.started),
	coalesce(l.run, t.run), coalesce(l.runs, t.runs), coalesce(i.id, ''),
	t.attempts, t.interruptions, t.crashes, t.crash_streak, t.interrupt_streak,
	coalesce(l.max_attempts, t.max_attempts), coalesce(l.max_crashes, t.max_crashes), coalesce(l.max_interruptions, t.max_interruptions),
	t.checkpoint, t.fraction, t.message, t.result
	from tasks t left join leases l on l.task = t.id left join incarnations i on i.n = coalesce(l.worker, t.worker) `

func scanTask(row interface{ Scan(...any) error }) (t task.Task, lane int64, err error) {
	var created, since, runAt, started int64
	err = row.Scan(&t.ID, &lane, &t.Key, &t.Payload, &t.Priority, &t.Status, &t.Reason, &t.Error,
		&created, &since, &runAt, &started, &t.Run, &t.Runs, &t.Worker,
		&t.Attempts, &t.Interruptions, &t.Crashes, &t.CrashStreak, &t.InterruptStreak,
		&t.MaxAttempts, &t.MaxCrashes, &t.MaxInterruptions,
		&t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message, &t.Result)
	t.Created, t.Since, t.RunAt, t.Started = at(created), at(since), at(runAt), at(started)
	if t.Status.Ended() {
		t.Finished = t.Since
	}
	return t, lane, err
}

// scanTasks reads tasks but for their lanes, and the lanes' numbers.
func scanTasks(ctx context.Context, q queryer, query string, args []any) (found []task.Task, lanes []int64, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		t, n, err := scanTask(rows)
		if err != nil {
			return nil, nil, err
		}
		found, lanes = append(found, t), append(lanes, n)
	}
	return found, lanes, rows.Err()
}

// tasks reads the tasks that a condition admits.
func (s *Store) tasks(ctx context.Context, q queryer, condition string, args ...any) (found []task.Task, err error) {
	found, of, err := scanTasks(ctx, q, taskSQL+condition, args)
	if err != nil {
		return nil, err
	}
	for i, n := range of { // when the rows are closed: a transaction has one connection
		l, err := s.byNumber(ctx, q, n)
		if err != nil {
			return nil, err
		}
		found[i].Kind, found[i].Queue = l.kind, l.queue
	}
	return found, nil
}

// at is a stored time; 0 is none.
func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// Where few tasks wait they are looked up one by one. Where many do, some are among the newest, and a walk from there soon has
// a page of them.
const (
	fewWait    = 1000
	fewWaitSQL = `select count(*) from (select 1 from ready union all select 1 from delayed limit ?)`
)

// Find implements task.Store.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	found, err := s.find(ctx, q)
	return found, s.wrap(ctx, err)
}

func (s *Store) find(ctx context.Context, q task.Query) (found []task.Task, err error) {
	var (
		where = []string{"true"}
		args  []any
	)
	filter := func(cond string, arg string) {
		if arg != "" {
			where, args = append(where, cond), append(args, arg)
		}
	}
	filter("t.lane in (select n from lanes where kind = ?)", q.Kind)
	filter("t.lane in (select n from lanes where queue = ?)", q.Queue)
	filter("t.key = ?", q.Key)
	filter("t.id < ?", q.After)
	switch q.Status {
	case "":
	case task.Running:
		where = append(where, "t.id in (select task from leases)")
	case task.Failed, task.Cancelled:
		filter("t.status in ('failed', 'cancelled') and t.status = ?", string(q.Status)) // as the index has it
	case task.Succeeded:
		filter("t.status = ? and l.task is null", string(q.Status))
	default:
		filter("t.status = ? and l.task is null", string(q.Status))
		var wait int
		if err := s.read.QueryRowContext(ctx, fewWaitSQL, fewWait+1).Scan(&wait); err != nil {
			return nil, err
		}
		if wait <= fewWait {
			where = append(where, "t.id in (select id from ready union all select id from delayed)")
		}
	}
	if len(q.IDs) > 0 {
		where = append(where, "t.id in (?"+strings.Repeat(", ?", len(q.IDs)-1)+")")
		for _, id := range q.IDs {
			args = append(args, id)
		}
	}
	args = append(args, cmp.Or(q.Limit, 100))
	return s.tasks(ctx, s.read, "where "+strings.Join(where, " and ")+" order by t.id desc limit ?", args...)
}

// History implements task.Store.
func (s *Store) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	runs, err := s.history(ctx, id)
	return runs, s.wrap(ctx, err)
}

func (s *Store) history(ctx context.Context, id string) (runs []task.RunRecord, err error) {
	var exists bool
	if err := s.read.QueryRowContext(ctx, `select exists (select 1 from tasks where id = ?)`, id).Scan(&exists); err != nil {
		return nil, err
	}
	if !exists {
		return nil, task.ErrNotFound
	}
	rows, err := s.read.QueryContext(ctx, `
		select r.run, i.id, i.host, i.pid, r.started, r.ended, r.status, r.reason, r.error, r.crashed, r.taken from (
			select run, worker, started, ended, status, reason, error, crashed, taken from runs where task = ?1
			union all
			select run, worker, started, since, status, reason, error, crashed, taken from tasks t where id = ?1 and runs > 0
				and not exists (select 1 from runs r where r.task = t.id and r.run = t.run)
			union all
			select run, worker, started, 0, 'running', '', '', 0, 0 from leases where task = ?1
		) r join incarnations i on i.n = r.worker order by r.run`, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			r              task.RunRecord
			started, ended int64
		)
		if err := rows.Scan(&r.Run, &r.Worker, &r.Host, &r.PID, &started, &ended, &r.Status, &r.Reason, &r.Error, &r.Crashed, &r.Taken); err != nil {
			return nil, err
		}
		r.Started, r.Ended = at(started), at(ended)
		runs = append(runs, r)
	}
	return runs, rows.Err()
}
