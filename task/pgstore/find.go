package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// picked returns a statement that picks ids, and reads those tasks.
func picked(pick, read string) string {
	return "with p as materialized (\n" + pick + "\n)\n" + read
}

// collectTasks reads the answer of ReadPicked. What has expired is shown as it will be, unless it is asked
// for as what waits.
func collectTasks(rows pgx.Rows, showExpired bool) ([]task.Task, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t task.Task, err error) {
		var (
			id      [16]byte
			started *time.Time
			before  *time.Time
			expired bool
			meta    string
		)
		err = row.Scan(&id, &t.Kind, &t.Queue, &t.Key, &t.Payload, &meta, &t.Priority, &t.Status, &t.Reason, &t.Error,
			&t.Created, &t.Since, &t.RunAt, &started, &t.Run, &t.Runs, &t.Worker,
			&t.Attempts, &t.Interruptions, &t.Crashes, &t.CrashStreak, &t.InterruptStreak, &t.Suspicion,
			&t.MaxAttempts, &t.MaxCrashes, &t.MaxInterruptions,
			&t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message, &t.Result, &before, &expired)
		t.ID, t.Started, t.StartBefore = storekit.FormatID(id), timeOrZero(started), timeOrZero(before)
		if expired && showExpired {
			t.Status, t.Reason, t.Since, t.StartBefore = task.StatusCancelled, task.ReasonExpired, t.StartBefore, time.Time{}
		}
		if t.Status.Ended() {
			t.Finished = t.Since
		}
		if err == nil {
			t.Meta, err = storekit.ParseMeta(meta)
		}
		return t, err
	})
}

// Find implements task.Store. A listing picks ids from an index that has them in their order; which
// one that is depends on what is asked for.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	if len(q.IDs) == 0 {
		if err := s.expireDue(ctx); err != nil {
			return nil, err
		}
	}
	var all []task.Task
	err := s.again(ctx, func(ctx context.Context) (err error) {
		all, err = s.find(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (s *Store) find(ctx context.Context, q task.Query) ([]task.Task, error) {
	f, err := s.filterOf(ctx, q)
	if err != nil || f == nil {
		return nil, err
	}
	if len(q.IDs) > 0 {
		return s.findIDs(ctx, f)
	}
	var kinds []string
	if q.Queue != "" && q.Kind == "" {
		if kinds, err = s.kindsOfQueue(ctx, q.Queue); err != nil {
			return nil, err
		}
	}
	for _, look := range f.firstLooks(kinds) {
		if tasks, all, err := s.lookFirst(ctx, f, look()); err != nil || all {
			return tasks, err
		}
		f.args = f.args[:1] // of the other statement the limit alone
	}
	return s.readTasks(ctx, picked(f.pick(kinds), s.q.ReadPicked), f.Status == "", f.args...)
}

// readTasks runs a statement that reads tasks.
func (s *Store) readTasks(ctx context.Context, sql string, showExpired bool, args ...any) ([]task.Task, error) {
	rows, err := s.pool.Query(ctx, s.sql(sql), args...)
	if err != nil {
		return nil, err
	}
	return collectTasks(rows, showExpired)
}

// findIDs reads the tasks of some ids, and leaves out those that the other filters do not admit.
func (s *Store) findIDs(ctx context.Context, f *filter) ([]task.Task, error) {
	var keys [][16]byte
	for _, id := range f.IDs {
		if key, ok := storekit.ParseID(id); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	f.args = nil
	ids := f.arg(keys)
	pick := "select t.id, t.created from @.tasks t where t.id = any (" + ids + ")"
	if after := f.after(); after != "" {
		pick += " and " + after
	}
	tasks, err := s.readTasks(ctx, picked(pick, s.q.ReadPicked), true, f.args...)
	tasks = f.admitted(tasks)
	return tasks[:min(len(tasks), f.most)], err
}

// lookFirst reads a bounded number of rows, and reports whether that was enough: it found as many
// tasks as are wanted, or has read all.
func (s *Store) lookFirst(ctx context.Context, f *filter, look firstLook) (tasks []task.Task, enough bool, err error) {
	var ids [][16]byte
	if err := s.pool.QueryRow(ctx, s.sql(look.statement(f)), f.args...).Scan(&enough, &ids); err != nil || !enough {
		return nil, false, err
	}
	// Some may have another status by now.
	tasks, err = s.readTasks(ctx, picked("select pg_catalog.unnest($1::uuid[]) as id", s.q.ReadPicked), false, ids)
	return f.admitted(tasks), true, err
}

func (s *Store) kindsOfQueue(ctx context.Context, queue string) ([]string, error) {
	rows, err := s.pool.Query(ctx, s.q.KindsOfQueue, queue)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
