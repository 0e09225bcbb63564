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

// standings are tasks as they were listed, in columns, with the places in the call of those that
// have a valid id.
type standings struct {
	ids            [][16]byte
	created, since []time.Time
	places         []int
}

// ControlAll implements task.Store.
func (s *Store) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	errs := make([]error, len(seen))
	for i := range errs {
		errs[i] = task.ErrChanged
	}
	var all standings
	listed := make(map[[16]byte]bool, len(seen)) // a task that is listed again will have changed
	for i, t := range seen {
		if id, ok := storekit.ParseID(t.ID); ok && !listed[id] {
			listed[id] = true
			all.ids, all.created, all.since, all.places = append(all.ids, id), append(all.created, t.Created), append(all.since, t.Since), append(all.places, i)
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
func (s *Store) controlAll(ctx context.Context, cmd task.Command, all standings, errs []error) error {
	if len(all.ids) == 0 {
		return nil
	}
	var made commanded
	err := s.once(ctx, func(ctx context.Context) (err error) {
		made, err = s.controlBatch(ctx, cmd, all)
		return err
	})
	switch {
	case isLockTimeout(err) && len(all.ids) == 1:
		errs[all.places[0]] = task.ErrKeyBusy
		return nil
	case isLockTimeout(err):
		half := len(all.ids) / 2
		first := standings{all.ids[:half], all.created[:half], all.since[:half], all.places[:half]}
		second := standings{all.ids[half:], all.created[half:], all.since[half:], all.places[half:]}
		if err := s.controlAll(ctx, cmd, first, errs); err != nil {
			return err
		}
		return s.controlAll(ctx, cmd, second, errs)
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
	for i, id := range all.ids {
		if err, ok := answer[id]; ok {
			errs[all.places[i]] = err
		}
	}
	if made.claimable {
		s.claimable(made.first)
	}
	if made.asked {
		s.asked()
	}
	return nil
}

// commanded is what a command has done in one transaction.
type commanded struct {
	done, busy [][16]byte // the tasks for which it was done, and those whose keys other tasks hold
	asked      bool       // a run has to receive the command
	claimable  bool       // tasks can be claimed now, and first is their least sort_priority
	first      int64
}

// controlBatch carries out a command for tasks in one transaction.
func (s *Store) controlBatch(ctx context.Context, cmd task.Command, all standings) (made commanded, err error) {
	var batch pgx.Batch // one transaction
	batch.Queue(`select pg_catalog.set_config('lock_timeout', $1, true)`, bulkPatience)
	args := []any{all.ids, all.created, all.since, cmd.By, cmd.Reason, int64(task.MaxCommands)}
	var firsts [2]*int64 // null: none
	made.first = math.MaxInt64
	queue := func(sql string, args []any, more ...any) {
		batch.Queue(sql, args...).QueryRow(func(row pgx.Row) error {
			var ids [][16]byte
			err := row.Scan(append([]any{&ids}, more...)...)
			made.done = append(made.done, ids...)
			return err
		})
	}
	commandRuns := func() {
		batch.Queue(s.q.CommandRuns, append(args, string(cmd.Verb))...).QueryRow(func(row pgx.Row) error {
			var ids [][16]byte
			err := row.Scan(&ids)
			made.done, made.asked = append(made.done, ids...), len(ids) > 0
			return err
		})
	}
	switch cmd.Verb {
	case task.VerbRetry:
		queue(s.q.RetryAllWaiting, args, &firsts[0])
		queue(s.q.RetryAllEnded, args, &firsts[1], &made.busy)
	case task.VerbCancel:
		queue(s.q.CancelAllWaiting, args)
		commandRuns()
	case task.VerbInterrupt:
		commandRuns()
	case task.VerbDelete:
		queue(s.q.DeleteAllEnded, args[:3])
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
