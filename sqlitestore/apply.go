package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// Apply implements task.Store. The changes share a transaction; when one of them cannot be written,
// each gets its own.
func (s *Store) Apply(ctx context.Context, changes []task.Change) []error {
	errs := make([]error, len(changes))
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for i, c := range changes {
			verdict, err := s.apply(ctx, tx, c)
			if err != nil {
				return err
			}
			errs[i] = verdict
		}
		return nil
	})
	switch {
	case err == nil:
		if slices.ContainsFunc(changes, func(c task.Change) bool { return c.Status.Claimable() }) {
			s.wake()
		}
	case len(changes) == 1 || ctx.Err() != nil || errors.Is(err, task.ErrClosed):
		for i := range errs {
			errs[i] = err
		}
	default:
		for i := range changes {
			errs[i] = s.Apply(ctx, changes[i:i+1])[0]
		}
	}
	return errs
}

// apply makes one change, or says by the verdict why it must not be made. The error is the
// database's.
func (s *Store) apply(ctx context.Context, tx *sql.Tx, c task.Change) (verdict, err error) {
	var held int
	err = tx.QueryRowContext(ctx, `select 1 from leases where worker = ? and task = ? and run = ?`, c.Worker, c.Task, c.Run).Scan(&held)
	if errors.Is(err, sql.ErrNoRows) {
		return late(ctx, tx, c)
	}
	if err != nil {
		return nil, err
	}
	if err := s.update(ctx, tx, c); err != nil {
		return nil, err
	}
	if c.Status == task.Running {
		return nil, nil
	}
	return nil, s.end(ctx, tx, c)
}

// update writes what a run may change while it goes on.
func (s *Store) update(ctx context.Context, tx *sql.Tx, c task.Change) error {
	n := c.Counters
	_, err := tx.ExecContext(ctx, `update tasks set attempts = ?, interruptions = ?, crashes = ?, crash_streak = ? where id = ?`,
		n.Attempts, n.Interruptions, n.Crashes, n.CrashStreak, c.Task)
	if err == nil && c.Checkpoint != nil {
		_, err = tx.ExecContext(ctx, `update tasks set checkpoint = ? where id = ?`, c.Checkpoint, c.Task)
	}
	if err == nil && c.Progress != nil {
		_, err = tx.ExecContext(ctx, `update tasks set fraction = ?, message = ? where id = ?`, c.Progress.Fraction, c.Progress.Message, c.Task)
	}
	return err
}

// end ends a run.
func (s *Store) end(ctx context.Context, tx *sql.Tx, c task.Change) error {
	now := s.now().UnixMicro()
	var finished int64
	if c.Status.Ended() {
		finished = now
	}
	var (
		kind     string
		priority int
		runAt    int64
	)
	err := tx.QueryRowContext(ctx, `update tasks set status = ?, reason = ?, error = ?, since = ?, finished = ?,
			run_at = case ? when 0 then ? else run_at end
		where id = ? returning kind, priority, run_at`,
		c.Status, c.Reason, c.Error, now, finished, finished, now+c.Delay.Microseconds(), c.Task).Scan(&kind, &priority, &runAt)
	if err != nil {
		return err
	}
	if c.Status.Claimable() {
		if err := makeReady(ctx, tx, c.Task, kind, priority, c.Status, runAt); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `delete from leases where worker = ? and task = ?`, c.Worker, c.Task); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `update runs set ended = ?, status = ?, reason = ?, error = ?, crashed = ?, taken = ? where task = ? and run = ?`,
		now, c.Status, c.Reason, c.Error, c.Crashed, c.Taken, c.Task, c.Run)
	return err
}

// late says what a change means whose run is no longer held: a repetition, a contradiction, or a
// loss.
func late(ctx context.Context, tx *sql.Tx, c task.Change) (verdict, err error) {
	var (
		status task.Status
		reason task.Reason
		taken  bool
	)
	err = tx.QueryRowContext(ctx, `select status, reason, taken from runs where task = ? and run = ? and worker = ?`,
		c.Task, c.Run, c.Worker).Scan(&status, &reason, &taken)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		var one int
		err := tx.QueryRowContext(ctx, `select 1 from tasks where id = ?`, c.Task).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return task.ErrNotFound, nil
		}
		return task.ErrLeaseLost, err
	case err != nil:
		return nil, err
	case taken || c.Status == task.Running:
		return task.ErrLeaseLost, nil
	case status == c.Status && reason == c.Reason:
		return nil, nil
	}
	return task.ErrAlreadyFinished, nil
}
