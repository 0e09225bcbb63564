package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// runningTasks appends the tasks that a query finds, one of those that begin with RunningTasks.
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

// at is a stored time; 0 is none.
func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// fewWait is how many waiting tasks are few. Those are sorted when queued tasks are listed. Where
// there are more, some are among the newest tasks, and a walk from there soon has a page of them.
const fewWait = 1000

// Find implements task.Store.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	s.expire(ctx)
	found, err := s.find(ctx, q)
	return found, s.wrap(ctx, err)
}

func (s *Store) find(ctx context.Context, q task.Query) (found []task.Task, err error) {
	text, args, err := s.numbersOf(ctx, q)
	if err != nil {
		return nil, err
	}
	text = statements["Tasks"] + "\nwhere t.n in (" + text + ") order by t.created desc, t.id desc"
	rows, err := s.read.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(rows *sql.Rows) error {
		found = append(found, task.Task{})
		return scanTask(rows, &found[len(found)-1])
	})
	return found, err
}

// numbersOf returns a query for the numbers of the tasks that another query admits. It begins with
// the table that has the fewest rows to be looked at.
func (s *Store) numbersOf(ctx context.Context, q task.Query) (text string, args []any, err error) {
	from, created, err := s.source(ctx, q)
	if err != nil {
		return "", nil, err
	}
	where := []string{"true"}
	filter := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	switch q.Status {
	case "", task.StatusRunning:
	case task.StatusQueued:
		filter("w.interrupted = 0")
	case task.StatusInterrupted:
		filter("w.interrupted = 1") // as the index has it
	case task.StatusFailed, task.StatusCancelled:
		filter("e.status <> 'succeeded' and e.status = ?", string(q.Status)) // as the index has it
	default:
		filter("e.status = ?", string(q.Status))
	}
	if q.Kind != "" {
		filter("t.kind = ?", q.Kind)
	}
	if q.Queue != "" {
		filter("t.queue = ?", q.Queue)
	}
	if q.Key != "" {
		filter("t.key <> '' and t.key = ?", q.Key)
	}
	for key, value := range q.Meta {
		filter("t.meta is not null and exists (select 1 from json_each(t.meta) m where m.key = ? and m.value = ?)", key, value)
	}
	if len(q.IDs) > 0 {
		ids, err := list(q.IDs)
		if err != nil {
			return "", nil, err
		}
		filter("t.id in (select value from json_each(?))", ids)
	}
	if q.After != "" {
		after, err := s.createdAt(ctx, q.After)
		if err != nil {
			return "", nil, err
		}
		filter("("+created+", t.id) < (?, ?)", after, q.After)
	}
	args = append(args, cmp.Or(q.Limit, 100))
	return "select t.n from " + from + " where " + strings.Join(where, " and ") + " order by " + created + " desc, t.id desc limit ?", args, nil
}

// source returns the tables that have the tasks of a query, in the order in which they are read,
// and the column that has their time of creation.
func (s *Store) source(ctx context.Context, q task.Query) (from, created string, err error) {
	narrow := len(q.IDs) == 0 && q.Key == "" // a few tasks are found by an index of tasks
	switch q.Status {
	case "":
		return "tasks t", "t.created", nil
	case task.StatusRunning:
		return join("running r", "r.task", narrow), "t.created", nil
	case task.StatusInterrupted:
		return join("waiting w", "w.task", narrow), "t.created", nil
	case task.StatusQueued:
		if narrow {
			err = one(ctx, s.reader, "FewWait", []any{fewWait}, &narrow)
		}
		return join("waiting w", "w.task", narrow), "t.created", err
	case task.StatusFailed, task.StatusCancelled:
		if narrow {
			return join("ended e", "e.task", true), "e.created", nil
		}
	}
	return join("ended e", "e.task", false), "t.created", nil
}

// join joins a table with tasks, and reads it before tasks or after.
func join(table, number string, before bool) string {
	if before {
		return table + " cross join tasks t on t.n = " + number
	}
	return "tasks t cross join " + table + " on t.n = " + number
}

// createdAt returns when the task was created behind which a listing continues.
func (s *Store) createdAt(ctx context.Context, id string) (created int64, err error) {
	err = one(ctx, s.reader, "CreatedAt", []any{id}, &created)
	if !errors.Is(err, sql.ErrNoRows) {
		return created, err
	}
	if t, ok := storekit.TimeOf(id); ok {
		return t.UnixMicro(), nil
	}
	return 0, fmt.Errorf("%w: %.80q, behind which the listing was to continue: start it again", task.ErrNotFound, id)
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
		slices.Reverse(runs) // the newest were asked for
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
