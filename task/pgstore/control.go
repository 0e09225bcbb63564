package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// commandPatience bounds the wait of a command for a transaction that has locked the task, in
// milliseconds.
const commandPatience = "500"

// Control implements task.Store.
func (s *Store) Control(ctx context.Context, cmd task.Command) error {
	repeat := s.again
	// Repeated after a lost answer, it would report that there never was such a task.
	if cmd.Verb == task.VerbDelete {
		repeat = s.once
	}
	var after func()
	err := repeat(ctx, func(ctx context.Context) (err error) {
		after, err = s.control(ctx, cmd)
		return err
	})
	if err == nil && after != nil {
		after()
	}
	return err
}

// control carries out a command, and returns the function that notifies the workers, if they need
// to know.
func (s *Store) control(ctx context.Context, cmd task.Command) (after func(), err error) {
	moved := func() { s.claimable(everything) }
	if cmd.Schedule != "" && (cmd.Verb == task.VerbPause || cmd.Verb == task.VerbResume) {
		return nil, s.steerSchedule(ctx, cmd)
	}
	switch cmd.Verb {
	case task.VerbPause:
		_, err := s.pool.Exec(ctx, s.q.Pause, cmd.Queue)
		if err == nil && cmd.Running {
			return s.asked, s.interruptQueue(ctx, cmd.Queue)
		}
		return nil, err
	case task.VerbResume:
		_, err := s.pool.Exec(ctx, s.q.Resume, cmd.Queue)
		return moved, err
	}
	id, ok := storekit.ParseID(cmd.Task)
	if !ok {
		return nil, task.ErrNotFound
	}
	switch cmd.Verb {
	case task.VerbCancel:
		return s.cancel(ctx, id, cmd)
	case task.VerbRetry:
		return moved, s.retryTask(ctx, id, cmd)
	case task.VerbInterrupt:
		return s.interrupt(ctx, id, cmd)
	case task.VerbDelete:
		return nil, s.deleteTask(ctx, id)
	}
	return nil, fmt.Errorf("%w: verb %q", task.ErrInvalid, cmd.Verb)
}

// A command runs one statement for each table in which the task may be, each in a transaction of
// its own. The task may move from one table to another meanwhile: then all are tried again.

// cancel ends a task that waits, and stores the command in the row of one that runs.
func (s *Store) cancel(ctx context.Context, id [16]byte, cmd task.Command) (after func(), err error) {
	for {
		var runs, waited int
		if err := s.commandRow(ctx, s.q.CommandRun, commandArgs(id, cmd), &runs); err != nil || runs > 0 {
			return s.asked, err
		}
		if err := s.commandRow(ctx, s.q.CancelWaiting, commandArgs(id, cmd), &waited); err != nil || waited > 0 {
			return nil, err
		}
		switch place, err := s.place(ctx, id); {
		case err != nil:
			return nil, err
		case place == placeCancelled:
			return nil, nil
		case place != placeRunning && place != placeWaiting:
			return nil, task.ErrAlreadyFinished
		}
	}
}

// interrupt stores the command in the row of a task that runs.
func (s *Store) interrupt(ctx context.Context, id [16]byte, cmd task.Command) (after func(), err error) {
	for {
		var runs int
		if err := s.commandRow(ctx, s.q.CommandRun, commandArgs(id, cmd), &runs); err != nil || runs > 0 {
			return s.asked, err
		}
		if place, err := s.place(ctx, id); err != nil {
			return nil, err
		} else if place != placeRunning {
			return nil, task.ErrNotRunning
		}
	}
}

// interruptQueue interrupts the runs of a paused queue. It first waits for claims that may not have
// seen the pause, so that it finds the runs that they begin.
func (s *Store) interruptQueue(ctx context.Context, queue string) error {
	err := s.awaitOldClaims(ctx)
	if err == nil {
		var workers int
		err = s.commandRow(ctx, s.q.AwaitClaims, nil, &workers)
	}
	if err != nil {
		return fmt.Errorf("the queue is paused, and what runs of it was not asked to hand over: %w", err)
	}
	var held [][16]byte
	if err := s.pool.QueryRow(ctx, s.q.InterruptQueue, queue).Scan(&held); err != nil && !noRows(err) {
		return err
	}
	var errs []error
	for _, id := range held {
		var runs int
		if err := s.commandRow(ctx, s.q.CommandRun, commandArgs(id, task.Command{Verb: task.VerbInterrupt}), &runs); err != nil {
			errs = append(errs, fmt.Errorf("task %s: %w", storekit.FormatID(id), err))
		}
	}
	return errors.Join(errs...)
}

// awaitOldClaims waits for the claims that were in progress when it was called: they may not have
// seen what was committed just before.
func (s *Store) awaitOldClaims(ctx context.Context) error {
	var (
		claims int
		now    time.Time
	)
	if err := s.pool.QueryRow(ctx, s.q.OldClaims, nil).Scan(&claims, &now); err != nil {
		return err
	}
	asked := now
	for begun := time.Now(); ; {
		if err := s.pool.QueryRow(ctx, s.q.OldClaims, asked).Scan(&claims, &now); err != nil {
			return err
		}
		if claims == 0 {
			return nil
		}
		if time.Since(begun) > oldClaimPatience {
			return fmt.Errorf("%d claims have been under way for more than %v: try again", claims, oldClaimPatience)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// oldClaimPatience is how long a pause waits for the claims that were in progress.
const oldClaimPatience = 10 * time.Second

// retryTask makes a task claimable now.
func (s *Store) retryTask(ctx context.Context, id [16]byte, cmd task.Command) error {
	args := append(commandArgs(id, cmd), cmd.FromStart, append([]string{}, cmd.SkipSteps...))
	for {
		var waited, ended, again int
		if err := s.commandRow(ctx, s.q.RetryWaiting, args, &waited); err != nil || waited > 0 {
			return err
		}
		err := s.commandRow(ctx, s.q.RetryEnded, args, &ended, &again)
		switch {
		case isLockTimeout(err), err == nil && ended > again:
			return task.ErrKeyBusy
		case err != nil || again > 0:
			return err
		}
		switch place, err := s.place(ctx, id); {
		case err != nil:
			return err
		case place == placeRunning:
			return task.ErrRunning
		case place == placeSucceeded:
			return task.ErrAlreadyFinished
		}
	}
}

// deleteTask removes a task that has ended.
func (s *Store) deleteTask(ctx context.Context, id [16]byte) error {
	for {
		var gone int
		if err := s.commandRow(ctx, s.q.DeleteEnded, []any{id}, &gone); err != nil || gone > 0 {
			return err
		}
		switch place, err := s.place(ctx, id); {
		case err != nil:
			return err
		case place == placeWaiting:
			n, err := s.expire(ctx) // it may have expired
			if err != nil {
				return err
			}
			if n == 0 {
				return task.ErrNotEnded
			}
		case place == placeRunning:
			return task.ErrNotEnded
		}
	}
}

// commandArgs returns the arguments of the statement of a command: the task, and what is recorded
// of the command.
func commandArgs(id [16]byte, cmd task.Command) []any {
	return []any{id, string(cmd.Verb), cmd.By, cmd.Reason, int64(task.MaxCommands)}
}

// commandRow runs the statement of a command, which returns one row.
func (s *Store) commandRow(ctx context.Context, sql string, args []any, into ...any) error {
	var batch pgx.Batch // one transaction
	batch.Queue(`select pg_catalog.set_config('lock_timeout', $1, true)`, commandPatience)
	batch.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(into...) })
	return explainHeld(s.pool.SendBatch(ctx, &batch).Close())
}

// explainHeld adds to an error what holds up a command.
func explainHeld(err error) error {
	if isLockTimeout(err) {
		return fmt.Errorf("a transaction that is still open has the task: commit it or roll it back, and try again: %w", err)
	}
	return err
}

// Where a task is, as the statement Place returns it: for an ended task its status. Failed, the one
// status that needs no constant, is missing here.
const (
	placeRunning   = "running"
	placeWaiting   = "waiting"
	placeCancelled = string(task.StatusCancelled)
	placeSucceeded = string(task.StatusSucceeded)
)

// place returns where a task is.
func (s *Store) place(ctx context.Context, id [16]byte) (place string, err error) {
	err = s.pool.QueryRow(ctx, s.q.Place, id).Scan(&place)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", task.ErrNotFound
	}
	return place, err
}
