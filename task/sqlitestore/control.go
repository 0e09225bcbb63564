package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lastcall-go/lastcall/task"
)

// Control implements task.Store.
func (s *Store) Control(ctx context.Context, cmd task.Command) error {
	commanded := false
	err := s.inTx(ctx, func(t *txn) (err error) {
		if cmd.Schedule != "" && (cmd.Verb == task.VerbPause || cmd.Verb == task.VerbResume) {
			return t.steerSchedule(cmd)
		}
		switch cmd.Verb {
		case task.VerbPause:
			if _, err = t.exec("Pause", cmd.Queue); err == nil && cmd.Running {
				_, err = t.exec("InterruptQueue", cmd.Queue)
				commanded = true
			}
		case task.VerbResume:
			t.news = true
			_, err = t.exec("Resume", cmd.Queue)
		case task.VerbCancel, task.VerbRetry, task.VerbInterrupt, task.VerbDelete:
			now := s.now().UnixMicro()
			if err = t.expireAll(now); err == nil {
				commanded, err = t.control(cmd, now)
			}
		default:
			err = fmt.Errorf("%w: verb %q", task.ErrInvalid, cmd.Verb)
		}
		return err
	})
	if err == nil && commanded {
		s.commanded()
	}
	return err
}

// state is the table in which a task is, and what is needed of its row.
type state struct {
	number           int64
	id               string
	kind, queue, key string
	running          bool
	ended            task.Status // "" if it has not ended
	interrupted      bool
	since            int64
}

// status returns the status of the task.
func (s state) status() task.Status {
	switch {
	case s.running:
		return task.StatusRunning
	case s.ended != "":
		return s.ended
	case s.interrupted:
		return task.StatusInterrupted
	}
	return task.StatusQueued
}

// state finds out in which table a task is.
func (t *txn) state(id string) (s state, err error) {
	s.id = id
	err = one(context.Background(), t, "StateOfTask", []any{id}, &s.number, &s.kind, &s.queue, &s.key, &s.running, &s.ended, &s.interrupted, &s.since)
	if errors.Is(err, sql.ErrNoRows) {
		err = task.ErrNotFound
	}
	return s, err
}

// control carries out a command for a task, and reports whether a run has to receive it.
func (t *txn) control(cmd task.Command, now int64) (commanded bool, err error) {
	s, err := t.state(cmd.Task)
	if err != nil {
		return false, err
	}
	if cmd.Verb == task.VerbDelete {
		if s.ended == "" {
			return false, task.ErrNotEnded
		}
		if err := t.giveBack(s); err != nil {
			return false, err
		}
		fewer := make(counts)
		fewer.add(s.queue, s.kind, s.ended, -1)
		return false, t.remove([]int64{s.number}, fewer)
	}
	return t.controlState(s, cmd, now)
}

// giveBack releases the key of a task that a person deletes, although its time is not over.
func (t *txn) giveBack(s state) error {
	if s.key == "" {
		return nil
	}
	_, err := t.exec("GiveBackWindow", s.kind, s.key, s.id)
	return err
}

// controlState carries out a command for a task, except a deletion, and records it.
func (t *txn) controlState(s state, cmd task.Command, now int64) (commanded bool, err error) {
	switch {
	case s.running && cmd.Verb == task.VerbRetry:
		return false, task.ErrRunning
	case s.running:
		commanded = true
		_, err = t.exec("Command", s.number, string(cmd.Verb))
	case cmd.Verb == task.VerbInterrupt:
		return false, task.ErrNotRunning
	case s.ended == task.StatusSucceeded, s.ended == task.StatusFailed && cmd.Verb == task.VerbCancel:
		return false, task.ErrAlreadyFinished
	case cmd.Verb == task.VerbCancel && s.ended == task.StatusCancelled:
		return false, nil
	case cmd.Verb == task.VerbCancel:
		err = t.cancel(s, now)
	case s.ended == "":
		t.news = true
		_, err = t.exec("RetryWaiting", s.number, now)
	default:
		t.news = true
		err = t.retry(s, now)
	}
	if err == nil && cmd.Verb == task.VerbRetry {
		err = t.retrySteps(s, cmd, now)
	}
	if err != nil {
		return false, err
	}
	if _, err = t.exec("KeepCommand", s.number, now, string(cmd.Verb), cmd.By, cmd.Reason); err == nil {
		_, err = t.exec("ForgetOldestCommands", s.number, task.MaxCommands)
	}
	return commanded, err
}

// forgetSaved has a task restart from the beginning: it removes its checkpoint and its steps.
func (t *txn) forgetSaved(number int64) error {
	for _, name := range []string{"PruneCheckpoints", "PruneSteps"} {
		if err := t.execList(name, []int64{number}); err != nil {
			return err
		}
	}
	return nil
}

// retrySteps implements rule 41: what a retry does with the steps.
func (t *txn) retrySteps(s state, cmd task.Command, now int64) error {
	if cmd.FromStart {
		if err := t.forgetSaved(s.number); err != nil {
			return err
		}
	}
	for _, name := range cmd.SkipSteps {
		if _, err := t.exec("SkipStep", s.number, name, now); err != nil {
			return err
		}
	}
	return nil
}

// cancel ends a waiting task.
func (t *txn) cancel(s state, now int64) error {
	n, err := t.endWaiting([]int64{s.number}, now, "")
	if err == nil && n == 0 {
		err = fmt.Errorf("task %s is in none of the tables waiting, running and ended: was the database changed by hand?", s.id)
	}
	if err != nil {
		return err
	}
	return t.rows("CountEnded", []any{s.queue, s.kind, string(task.StatusCancelled), 1})
}

// endWaiting moves tasks from waiting to ended, and returns how many there were. The caller updates
// the counts.
func (t *txn) endWaiting(numbers []int64, now int64, why task.Reason) (n int64, err error) {
	arg, err := list(numbers)
	if err != nil {
		return 0, err
	}
	if n, err = t.exec("CancelWaiting", arg, now, string(why)); err != nil || n == 0 {
		return n, err
	}
	for _, name := range []string{"EndWaits", "ReleaseKeys"} {
		if err := t.execList(name, numbers); err != nil {
			return n, err
		}
	}
	return n, nil
}

// retry has an ended task wait again.
func (t *txn) retry(s state, now int64) error {
	if s.key != "" {
		holders, err := t.holders([][2]string{{s.kind, s.key}}, now)
		if err != nil {
			return err
		}
		// If the task itself holds the key, it does so by a window.
		if holder, held := holders[kindKey{s.kind, s.key}]; held && holder != s.id {
			return task.ErrKeyBusy
		}
		if err := t.rows("AddKeys", []any{s.number, s.kind, s.key}); err != nil {
			return err
		}
	}
	if _, err := t.exec("KeepLastRun", s.number); err != nil {
		return err
	}
	if _, err := t.exec("RetryEnded", s.number, now); err != nil {
		return err
	}
	if _, err := t.exec("TakeBackEnd", s.number); err != nil {
		return err
	}
	return t.rows("CountEnded", []any{s.queue, s.kind, string(s.ended), -1})
}
