package pgstore

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// bulkPatience bounds the wait of a command to many tasks for a key that an open transaction holds,
// in milliseconds.
const bulkPatience = "50"

// standing is a task as it was listed, with its place in the call.
type standing struct {
	task.Standing
	id    [16]byte
	place int
}

// columns returns the ids, the times of creation and the times of their states of the tasks that
// were listed with a status for which want returns true.
func columns(all []standing, want func(task.Status) bool) (ids [][16]byte, created, since []time.Time) {
	for _, t := range all {
		if want(t.Status) {
			ids, created, since = append(ids, t.id), append(created, t.Created), append(since, t.Since)
		}
	}
	return ids, created, since
}

func isRunning(s task.Status) bool { return s == task.StatusRunning }

// ControlAll implements task.Store.
func (s *Store) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	errs := make([]error, len(seen))
	for i := range errs {
		errs[i] = task.ErrChanged
	}
	var all []standing
	listed := make(map[[16]byte]bool, len(seen)) // a task that is listed again will have changed
	for i, t := range seen {
		if id, ok := storekit.ParseID(t.ID); ok && !listed[id] {
			listed[id] = true
			all = append(all, standing{t, id, i})
		}
	}
	err := s.usable(ctx)
	if len(seen) > task.MaxControl {
		err = fmt.Errorf("%w: %d tasks in one call, at most %d are commanded at once", task.ErrInvalid, len(seen), task.MaxControl)
	}
	if err == nil {
		err = s.controlAll(ctx, cmd, all, errs)
	}
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// controlAll carries out a command for tasks, and records the result of each. If an open
// transaction holds a key that one of the tasks needs, each half of the tasks is tried by itself,
// until only that task fails.
func (s *Store) controlAll(ctx context.Context, cmd task.Command, all []standing, errs []error) error {
	if len(all) == 0 {
		return nil
	}
	var made commanded
	err := s.once(ctx, func(ctx context.Context) (err error) {
		made, err = s.controlBatch(ctx, cmd, all)
		return err
	})
	switch {
	case isLockTimeout(err) && len(all) == 1:
		errs[all[0].place] = task.ErrKeyBusy
		return nil
	case isLockTimeout(err):
		half := len(all) / 2
		if err := s.controlAll(ctx, cmd, all[:half], errs); err != nil {
			return err
		}
		return s.controlAll(ctx, cmd, all[half:], errs)
	case err != nil:
		return err
	}
	answer := make(map[[16]byte]error, len(made.done)+len(made.busy))
	for _, id := range made.busy {
		answer[id] = task.ErrKeyBusy
	}
	for _, id := range made.done {
		answer[id] = nil
	}
	asked := false // a run has to receive the command
	for _, t := range all {
		if err, ok := answer[t.id]; ok {
			errs[t.place] = err
			asked = asked || err == nil && t.Status == task.StatusRunning
		}
	}
	if made.claimable {
		s.claimable(made.first)
	}
	if asked {
		s.asked()
	}
	return nil
}

// commanded is what a command has done in one transaction.
type commanded struct {
	done, busy [][16]byte // the tasks for which it was done, and those whose keys other tasks hold
	claimable  bool       // tasks can be claimed now, and first is their least sort_priority
	first      int64
}

// controlBatch carries out a command for tasks in one transaction. The status with which a task was
// listed decides which statement looks for it.
func (s *Store) controlBatch(ctx context.Context, cmd task.Command, all []standing) (made commanded, err error) {
	var batch pgx.Batch // one transaction
	batch.Queue(`select pg_catalog.set_config('lock_timeout', $1, true)`, bulkPatience)
	var firsts [2]*int64 // null: none
	made.first = math.MaxInt64
	// queue adds a statement for the tasks that were listed with one of some statuses. The first
	// column of its answer has the tasks for which the command was done.
	queue := func(sql string, want func(task.Status) bool, args []any, more ...any) {
		ids, created, since := columns(all, want)
		if len(ids) == 0 {
			return
		}
		batch.Queue(sql, append([]any{ids, created, since}, args...)...).QueryRow(func(row pgx.Row) error {
			var done [][16]byte
			err := row.Scan(append([]any{&done}, more...)...)
			made.done = append(made.done, done...)
			return err
		})
	}
	who := []any{cmd.By, cmd.Reason, int64(task.MaxCommands)}
	switch cmd.Verb {
	case task.VerbRetry:
		queue(s.q.RetryAllWaiting, task.Status.Claimable, who, &firsts[0])
		queue(s.q.RetryAllEnded, task.Status.Ended, who, &firsts[1], &made.busy)
	case task.VerbCancel:
		queue(s.q.CancelAllWaiting, task.Status.Claimable, who)
		queue(s.q.CommandRuns, isRunning, append(who, string(cmd.Verb)))
	case task.VerbInterrupt:
		queue(s.q.CommandRuns, isRunning, append(who, string(cmd.Verb)))
	case task.VerbDelete:
		queue(s.q.DeleteAllEnded, task.Status.Ended, nil)
	default:
		return made, fmt.Errorf("%w: verb %q", task.ErrInvalid, cmd.Verb)
	}
	err = s.pool.SendBatch(ctx, &batch).Close()
	for _, first := range firsts {
		if first != nil {
			made.claimable, made.first = true, min(made.first, *first)
		}
	}
	return made, err
}

// Commands implements task.Store.
func (s *Store) Commands(ctx context.Context, id string) (all []task.CommandRecord, err error) {
	err = s.again(ctx, func(ctx context.Context) error {
		key, ok := storekit.ParseID(id)
		if !ok {
			return task.ErrNotFound
		}
		rows, err := s.pool.Query(ctx, s.q.Commands, key)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c task.CommandRecord, err error) {
			var at *time.Time
			err = row.Scan(&at, &c.Verb, &c.By, &c.Reason)
			c.At = timeOrZero(at)
			return c, err
		})
		if err == nil && len(all) == 0 {
			return task.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	all = all[:len(all)-1] // the last row is there for a task without commands
	return all[max(0, len(all)-task.MaxCommands):], nil
}
