package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// scanTask reads a row of the statement Tasks.
func scanTask(row *sql.Rows, t *task.Task) error {
	var (
		created, since, runAt, started int64
		meta                           sql.NullString
		before                         sql.NullInt64
	)
	*t = task.Task{}
	err := row.Scan(&t.ID, &t.Kind, &t.Queue, &t.Key, &t.Payload, &meta, &t.Priority, &created,
		&t.Status, &t.Reason, &t.Error, &since, &runAt, &started, &t.Run, &t.Runs, &t.Worker,
		&t.Attempts, &t.Interruptions, &t.Crashes, &t.CrashStreak, &t.InterruptStreak, &t.Suspicion,
		&t.MaxAttempts, &t.MaxCrashes, &t.MaxInterruptions,
		&t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message, &t.Result, &before)
	t.StartBefore = at(before.Int64)
	t.Created, t.Since, t.RunAt, t.Started = at(created), at(since), at(runAt), at(started)
	if t.Status.Ended() {
		t.Finished = t.Since
	}
	return errors.Join(err, readMeta(t, meta))
}

// runningTasks appends the tasks that a query finds. The query is one of those that begin with
// RunningTasks.
func runningTasks(q queryer, found []task.Task, name string, args ...any) ([]task.Task, error) {
	err := each(context.Background(), q, name, args, func(row *sql.Rows) error {
		var (
			created, started, runAt int64
			meta                    sql.NullString
		)
		found = append(found, task.Task{Status: task.StatusRunning})
		t := &found[len(found)-1]
		err := row.Scan(&t.ID, &t.Kind, &t.Queue, &t.Key, &t.Payload, &meta, &t.Priority, &created, &t.Reason, &t.Error, &started, &runAt,
			&t.Run, &t.Runs, &t.Worker, &t.Attempts, &t.Interruptions, &t.Crashes, &t.CrashStreak, &t.InterruptStreak, &t.Suspicion,
			&t.MaxAttempts, &t.MaxCrashes, &t.MaxInterruptions, &t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message)
		t.Created, t.Since, t.RunAt, t.Started = at(created), at(started), at(runAt), at(started)
		return errors.Join(err, readMeta(t, meta))
	})
	return found, err
}

// readMeta sets a task's Meta.
func readMeta(t *task.Task, column sql.NullString) (err error) {
	t.Meta, err = storekit.ParseMeta(column.String)
	return err
}

// at returns a stored time; 0 is the zero time.
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
	s.expire(ctx)
	found, err := s.find(ctx, q)
	if more := (*task.MoreError)(nil); errors.As(err, &more) {
		return found, err
	}
	return found, s.wrap(ctx, err)
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
	err = each(ctx, s.reader, "History", []any{id, task.MaxHistory}, func(rows *sql.Rows) error {
		var (
			r              task.RunRecord
			started, ended int64
		)
		err := rows.Scan(&r.Run, &r.Worker, &r.Host, &r.PID, &started, &ended, &r.Status, &r.Reason, &r.Error, &r.Crashed, &r.Reclaimed)
		r.Started, r.Ended = at(started), at(ended)
		runs = append(runs, r)
		return err
	})
	if err != nil || len(runs) > 0 {
		slices.Reverse(runs) // the query returns the newest first
		return runs, err
	}
	exists := false
	if err := one(ctx, s.reader, "TaskExists", []any{id}, &exists); err != nil || exists {
		return nil, err
	}
	return nil, task.ErrNotFound
}

// Steps implements task.Store.
func (s *Store) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var all []task.StepRecord
	found := false
	err := each(ctx, s.reader, "Steps", []any{id}, func(rows *sql.Rows) error {
		var (
			p     task.StepRecord
			saved int64
		)
		found = true
		err := rows.Scan(&p.Name, &p.Place, &p.State, &p.Version, &p.Run, &saved, &p.Body)
		if p.Saved = at(saved); p.Name != "" {
			all = append(all, p)
		}
		return err
	})
	if err == nil && !found {
		return nil, task.ErrNotFound
	}
	return all, s.wrap(ctx, err)
}

// Log implements task.Store.
func (s *Store) Log(ctx context.Context, id string) (body []byte, err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	err = one(ctx, s.reader, "Log", []any{id}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, task.ErrNotFound
	}
	return body, s.wrap(ctx, err)
}
