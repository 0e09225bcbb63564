package sqlitestore

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// taskColumns and scanTask belong together.
const taskColumns = `id, kind, payload, priority, status, reason, error, created, since, run_at, started, finished,
	run, runs, worker, attempts, interruptions, crashes, crash_streak, max_attempts, max_crashes, checkpoint, fraction, message`

func scanTask(row interface{ Scan(...any) error }) (task.Task, error) {
	var (
		t                                        task.Task
		created, since, runAt, started, finished int64
	)
	err := row.Scan(&t.ID, &t.Kind, &t.Payload, &t.Priority, &t.Status, &t.Reason, &t.Error,
		&created, &since, &runAt, &started, &finished, &t.Run, &t.Runs, &t.Worker,
		&t.Attempts, &t.Interruptions, &t.Crashes, &t.CrashStreak, &t.MaxAttempts, &t.MaxCrashes,
		&t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message)
	t.Created, t.Since, t.RunAt = at(created), at(since), at(runAt)
	t.Started, t.Finished = at(started), at(finished)
	return t, err
}

// at is a stored time; 0 is none.
func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

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
	filter("status = ?", string(q.Status))
	filter("kind = ?", q.Kind)
	filter("id < ?", q.After)
	if len(q.IDs) > 0 {
		where = append(where, "id in (?"+strings.Repeat(", ?", len(q.IDs)-1)+")")
		for _, id := range q.IDs {
			args = append(args, id)
		}
	}
	args = append(args, cmp.Or(q.Limit, 100))
	rows, err := s.read.QueryContext(ctx, "select "+taskColumns+" from tasks where "+
		strings.Join(where, " and ")+" order by id desc limit ?", args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		t, err := scanTask(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	return found, rows.Err()
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
	rows, err := s.read.QueryContext(ctx, `select run, worker, host, pid, started, ended, status, reason, error, crashed, taken
		from runs where task = ? order by run`, id)
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
