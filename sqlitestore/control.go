package sqlitestore

import (
	"context"
	"fmt"

	"github.com/lastcall-go/lastcall/task"
)

// Control implements task.Store.
func (s *Store) Control(ctx context.Context, cmd task.Command) error {
	after := func() {}
	err := s.inTx(ctx, func(t *txn) (err error) {
		switch cmd.Verb {
		case task.VerbPause:
			_, err = t.exec(`insert into paused (queue) values (?) on conflict do nothing`, cmd.Queue)
		case task.VerbResume:
			after = s.claimable
			_, err = t.exec(`delete from paused where queue = ?`, cmd.Queue)
		case task.VerbCancel, task.VerbRetry, task.VerbInterrupt:
			after, err = s.control(t, cmd)
		default:
			err = fmt.Errorf("%w: verb %q", task.ErrInvalid, cmd.Verb)
		}
		return err
	})
	if err == nil {
		after()
	}
	return err
}

// control does what is asked of a task, and returns whom to tell after the commit.
func (s *Store) control(t *txn, cmd task.Command) (after func(), err error) {
	after = func() {}
	var (
		status  task.Status
		lane    int64
		key     string
		running bool
	)
	err = t.QueryRowContext(context.Background(), `select status, lane, key, exists (select 1 from leases where task = tasks.id)
		from tasks where id = ?`, cmd.Task).Scan(&status, &lane, &key, &running)
	switch {
	case noRows(err):
		return after, task.ErrNotFound
	case err != nil:
		return after, err
	case running && cmd.Verb == task.VerbRetry:
		return after, task.ErrRunning
	case running:
		_, err := t.exec(`update leases set asked = case asked when 'cancel' then asked else ? end where task = ?`, cmd.Verb, cmd.Task)
		return s.asked, err
	case cmd.Verb == task.VerbInterrupt:
		return after, task.ErrNotRunning
	case status == task.Succeeded, status == task.Failed && cmd.Verb == task.VerbCancel:
		return after, task.ErrAlreadyFinished
	case cmd.Verb == task.VerbCancel:
		if status == task.Cancelled {
			return after, nil
		}
		return after, s.cancel(t, cmd.Task, lane)
	}
	return s.claimable, s.retry(t, cmd.Task, lane, key, status)
}

// cancel ends a task that waits.
func (s *Store) cancel(t *txn, id string, lane int64) error {
	if err := s.stopWaiting(t, id); err != nil {
		return err
	}
	if _, err := t.exec(pastSQL, id); err != nil { // the last run's record stands in the row that is changed
		return err
	}
	if _, err := t.exec(`update tasks set status = 'cancelled', reason = '', since = ? where id = ?`, s.now().UnixMicro(), id); err != nil {
		return err
	}
	return ended(t, id, lane, task.Cancelled)
}

// retry makes a task claimable now, whether it waits or has ended.
func (s *Store) retry(t *txn, id string, n int64, key string, status task.Status) error {
	now := s.now().UnixMicro()
	if _, err := t.exec(pastSQL, id); err != nil {
		return err
	}
	if !status.Ended() {
		if err := s.stopWaiting(t, id); err != nil {
			return err
		}
	} else {
		if key != "" {
			l, err := s.byNumber(context.Background(), t, n)
			if err != nil {
				return err
			}
			if holder, err := takeKey(t, l.kind, key, id); err != nil {
				return err
			} else if holder != id {
				return task.ErrKeyBusy
			}
		}
		if _, err := t.exec(tallySQL, n, status, -1); err != nil {
			return err
		}
		if _, err := t.exec(`update tasks set status = 'queued', reason = '', since = ? where id = ?`, now, id); err != nil {
			return err
		}
	}
	if _, err := t.exec(`update tasks set attempts = 0, crash_streak = 0, interrupt_streak = 0, run_at = ? where id = ?`, now, id); err != nil {
		return err
	}
	w, err := waitingOf(t, id)
	if err != nil {
		return err
	}
	return makeWait(t, w, now)
}

func (s *Store) stopWaiting(t *txn, id string) error {
	w, err := waitingOf(t, id)
	if err != nil {
		return err
	}
	waited, err := dropWait(t, w)
	if err == nil && !waited {
		err = fmt.Errorf("task %s waits nowhere: was the database changed by hand?", id)
	}
	return err
}
