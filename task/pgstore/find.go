package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// picked returns a statement that picks ids, and then reads the tasks with these ids.
func picked(pick, read string) string {
	return "with p as materialized (\n" + pick + "\n)\n" + read
}

// collectTasks reads the answer of ReadPicked. With showExpired a task that has expired is shown as
// it will be once it is ended. Queries for waiting tasks do not want that.
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

// collectOutlines reads the answer of OutlinePicked.
func collectOutlines(rows pgx.Rows) ([]task.Task, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t task.Task, err error) {
		var id [16]byte
		err = row.Scan(&id, &t.Created, &t.Status, &t.Since)
		return outline(id, t.Created, t.Status, t.Since), err
	})
}

// outline returns a task with what a brief listing shows of it.
func outline(id [16]byte, created time.Time, status task.Status, since time.Time) task.Task {
	t := task.Task{ID: storekit.FormatID(id), Created: created, Status: status, Since: since}
	if status.Ended() {
		t.Finished = since
	}
	return t
}

// Find implements task.Store. A listing picks ids from an index that has them in the wanted order;
// the filters decide which one.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	if len(q.IDs) == 0 {
		if err := s.expireDue(ctx, expireEvery); err != nil {
			return nil, err
		}
	}
	var all []task.Task
	err := s.again(ctx, func(ctx context.Context) (err error) {
		all, err = s.find(ctx, q)
		return err
	})
	if more := (*task.MoreError)(nil); err != nil && !errors.As(err, &more) {
		return nil, err
	}
	return all, err
}

func (s *Store) find(ctx context.Context, q task.Query) ([]task.Task, error) {
	f, err := s.filterOf(ctx, q)
	if err != nil || f == nil {
		return nil, err
	}
	if len(q.IDs) > 0 {
		return s.findIDs(ctx, f)
	}
	parts, kinds, whole, err := s.partsOf(ctx, q)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	if len(parts) == 1 && whole && !searched(q) {
		f.Query = parts[0]
		for _, look := range f.firstLooks(kinds[f.Queue]) {
			if tasks, all, err := s.lookFirst(ctx, f, look()); err != nil || all {
				return tasks, err
			}
			f.args = f.args[:1] // keep the limit alone; the rest belongs to the first look
		}
		if f.exact() {
			return s.readTasks(ctx, f, f.pick(kinds[f.Queue]))
		}
	}
	return s.search(ctx, f, parts, kinds)
}

// readTasks reads the tasks that a statement picks, in the order of the listing.
func (s *Store) readTasks(ctx context.Context, f *filter, pick string) (tasks []task.Task, err error) {
	read := s.q.ReadPicked
	if f.Brief {
		read = s.q.OutlinePicked
	}
	rows, err := s.pool.Query(ctx, s.sql(picked(pick, read)), f.args...)
	switch {
	case err != nil:
		return nil, err
	case f.Brief:
		tasks, err = collectOutlines(rows)
	default:
		tasks, err = collectTasks(rows, len(f.IDs) > 0 || f.Status == "" && len(f.Statuses) == 0)
	}
	slices.SortFunc(tasks, func(a, b task.Task) int {
		x, y := f.PositionOf(a), f.PositionOf(b)
		return cmp.Or(y.At.Compare(x.At), cmp.Compare(y.ID, x.ID))
	})
	return tasks, err
}

// readPicked reads tasks that were found a moment ago. Some may have changed since.
func (s *Store) readPicked(ctx context.Context, f *filter, ids [][16]byte, created []time.Time) ([]task.Task, error) {
	g := &filter{Query: f.Query, args: []any{ids, created}}
	tasks, err := s.readTasks(ctx, g, "select pg_catalog.unnest($1::uuid[]) as id, pg_catalog.unnest($2::timestamptz[]) as created")
	return tasks, err
}

// findIDs reads the tasks with some ids, and leaves out those that the other filters do not admit.
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
	f.Brief = false // Admits needs all fields
	tasks, err := s.readTasks(ctx, f, pick)
	tasks = slices.DeleteFunc(tasks, func(t task.Task) bool {
		at := f.PositionOf(t)
		id, _ := storekit.ParseID(t.ID)
		before := at.At.After(f.afterAt) || at.At.Equal(f.afterAt) && bytes.Compare(id[:], f.afterID[:]) >= 0
		return !f.Admits(t) || f.start && before
	})
	return tasks[:min(len(tasks), f.most)], err
}

// lookFirst reads a bounded number of rows, and reports whether that was enough: it found as many
// tasks as are wanted, or has read all.
func (s *Store) lookFirst(ctx context.Context, f *filter, look firstLook) (tasks []task.Task, enough bool, err error) {
	var (
		ids     [][16]byte
		created []time.Time
	)
	if err := s.pool.QueryRow(ctx, s.sql(look.statement(f)), f.args...).Scan(&enough, &ids, &created); err != nil || !enough {
		return nil, false, err
	}
	tasks, err = s.readPicked(ctx, f, ids, created)
	tasks = f.stillAdmitted(tasks)
	// A page from which some tasks have vanished is not full.
	return tasks, len(ids) < f.most || len(tasks) == len(ids), err
}

// stillAdmitted leaves out tasks that have changed since, and that the query no longer admits.
func (f *filter) stillAdmitted(tasks []task.Task) []task.Task {
	// The other fields are missing; a task that was found can only have changed its status.
	if f.Brief {
		statuses, _ := f.AllStatuses()
		return slices.DeleteFunc(tasks, func(t task.Task) bool {
			return len(statuses) > 0 && !slices.Contains(statuses, t.Status) || f.Order == task.OrderFinished && !t.Status.Ended()
		})
	}
	return slices.DeleteFunc(tasks, func(t task.Task) bool { return !f.Admits(t) })
}

func (s *Store) kindsOfQueue(ctx context.Context, queue string) ([]string, error) {
	rows, err := s.pool.Query(ctx, s.q.KindsOfQueue, queue)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
