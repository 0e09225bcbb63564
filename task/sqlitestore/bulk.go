package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// ControlAll implements task.Store.
func (s *Store) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	errs := make([]error, len(seen))
	commanded := false
	err := s.inTx(ctx, func(t *txn) (err error) {
		commanded, err = t.controlAll(cmd, seen, errs, s.now().UnixMicro())
		return err
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	if err == nil && commanded {
		s.commanded()
	}
	return errs
}

// controlAll carries out a command for the tasks that are as they were listed, sets the answer of
// each, and reports whether a run has to receive the command.
func (t *txn) controlAll(cmd task.Command, seen []task.Standing, errs []error, now int64) (commanded bool, err error) {
	if len(seen) > task.MaxControl {
		return false, fmt.Errorf("%w: %d tasks in one call, at most %d are commanded at once", task.ErrInvalid, len(seen), task.MaxControl)
	}
	if !slices.Contains([]task.Verb{task.VerbCancel, task.VerbRetry, task.VerbInterrupt, task.VerbDelete}, cmd.Verb) {
		return false, fmt.Errorf("%w: verb %q", task.ErrInvalid, cmd.Verb)
	}
	if err := t.expireAll(now); err != nil {
		return false, err
	}
	var gone []int64
	fewer := make(counts)
	for i, was := range seen {
		is, err := t.state(was.ID)
		switch {
		case errors.Is(err, task.ErrNotFound):
		case err != nil:
			return false, err
		}
		if err != nil || is.status() != was.Status || is.since != was.Since.UnixMicro() || cmd.Verb == task.VerbDelete && (is.ended == "" || slices.Contains(gone, is.number)) {
			errs[i] = task.ErrChanged
			continue
		}
		if cmd.Verb == task.VerbDelete {
			if err := t.giveBack(is); err != nil {
				return false, err
			}
			errs[i] = nil
			gone = append(gone, is.number)
			fewer.add(is.queue, is.kind, is.ended, -1)
			continue
		}
		told, err := t.controlState(is, cmd, now)
		if err != nil && !storekit.IsContractError(err) {
			return false, err
		}
		if errs[i] = err; err != nil && !errors.Is(err, task.ErrKeyBusy) {
			errs[i] = task.ErrChanged
		}
		commanded = commanded || told
	}
	if len(gone) == 0 {
		return commanded, nil
	}
	return commanded, t.remove(gone, fewer)
}

// Commands implements task.Store.
func (s *Store) Commands(ctx context.Context, id string) (all []task.CommandRecord, err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	err = each(ctx, s.reader, "CommandsOfTask", []any{id}, func(rows *sql.Rows) error {
		var (
			c    task.CommandRecord
			when int64
		)
		err := rows.Scan(&when, &c.Verb, &c.By, &c.Reason)
		c.At = at(when)
		all = append(all, c)
		return err
	})
	if err != nil || len(all) > 0 {
		return all, s.wrap(ctx, err)
	}
	exists := false
	if err := one(ctx, s.reader, "TaskExists", []any{id}, &exists); err != nil || exists {
		return nil, s.wrap(ctx, err)
	}
	return nil, task.ErrNotFound
}
