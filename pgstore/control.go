package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

const (
	pauseSQL  = `insert into @.paused (queue) values ($1) on conflict do nothing`
	resumeSQL = `delete from @.paused where queue = $1`
	// The task's row is locked against other commands, and against the end of its run. It does not change: what is to be seen of
	// who had it before is seen by the next statement.
	lockTaskSQL  = `select 1 from @.tasks where id = $1::uuid for update`
	taskStateSQL = `select status, lane, key from @.rows where id = $1::uuid`
	onSheetSQL   = `select status = 'succeeded' and row_status <> 'succeeded' from @.records where id = $1::uuid`
	// Sheets do not look at rows: they have been written before this, or never will be.
	apartTaskSQL = `update @.claims set apart = true where $1::uuid = any (tasks) and not apart`
	askSQL       = `
		with noted as (
			insert into @.states as s (task, asked) values ($1::uuid, $4)
			on conflict (task) do update set asked = case when s.asked = 'cancel' then s.asked else excluded.asked end
			where coalesce(s.run, 0) < $2 returning s.task, s.asked
		)
		insert into @.asked (task, run, worker, verb) select task, $2, $3, asked from noted
		on conflict (task) do update set run = excluded.run, worker = excluded.worker, verb = excluded.verb`
	// A waiting task stands in one of two tables, under a key that its row knows.
	dropReadySQL = `
		with r as (delete from @.ready q using @.rows t where t.id = $1::uuid and q.lane = t.lane and q.suspect = (t.crash_streak >= 2)
			and q.rank = ~t.priority and q.fresh = (t.status = 'queued') and q.run_at = t.run_at and q.id = t.id returning 1),
		d as (delete from @.delayed q using @.rows t where t.id = $1::uuid and q.run_at = t.run_at and q.id = t.id returning 1)
		select (select count(*) from r) + (select count(*) from d)`
	// The last run's record stands in the task's state, and goes to the others before a command
	// changes that.
	keepRunSQL = `insert into @.runs (task, run, started, ended, worker, crashed, taken, status, reason, error)
		select id, run, started, since, worker, crashed, taken, status, reason, error from @.rows where id = $1::uuid and runs > 0
		on conflict do nothing`
	cancelNowSQL = `
		with written as (
			insert into @.states as s (task, status, reason, since) values ($1::uuid, 'cancelled', '', now())
			on conflict (task) do update set status = excluded.status, reason = excluded.reason, since = excluded.since
		), done as (
			select id, lane, key from @.tasks where id = $1::uuid
		), unkeyed as (
			delete from @.keys k using done d, @.lanes n where n.n = d.lane and d.key <> '' and k.kind = n.kind and k.key = d.key and k.task = d.id
		), fallen as (
			insert into @.failures (id, lane, status) select id, lane, 'cancelled' from done
		)
		insert into @.tallies (lane, status, n) select lane, 'cancelled', 1 from done`
	retriedSQL = `
		with was as (
			select id, lane, status from @.rows where id = $1::uuid
		), now as (
			insert into @.states as s (task, attempts, crash_streak, interrupt_streak, run_at, since, reason, status)
			select id, 0, 0, 0, now(), case when ended then now() end, case when ended then '' end, case when ended then 'queued' end
			from (select id, status in ('failed', 'cancelled') as ended from was) w
			on conflict (task) do update set attempts = 0, crash_streak = 0, interrupt_streak = 0, run_at = excluded.run_at,
				since = coalesce(excluded.since, s.since), reason = coalesce(excluded.reason, s.reason), status = coalesce(excluded.status, s.status)
		), risen as (
			delete from @.failures where id = $1::uuid
		)
		insert into @.tallies (lane, status, n) select lane, status, -1 from was where status in ('failed', 'cancelled')`
)

// moved says that a task may have become claimable, anywhere in its lane.
func (s *Store) moved() { s.claimable(everything) }

// Control implements task.Store.
func (s *Store) Control(ctx context.Context, cmd task.Command) error {
	var after func()
	err := s.once(ctx, func(ctx context.Context) error {
		after = func() {}
		switch cmd.Verb {
		case task.VerbPause:
			_, err := s.pool.Exec(ctx, s.q.pause, cmd.Queue)
			return err
		case task.VerbResume:
			after = s.moved
			_, err := s.pool.Exec(ctx, s.q.resume, cmd.Queue)
			return err
		case task.VerbCancel, task.VerbRetry, task.VerbInterrupt:
		default:
			return fmt.Errorf("%w: verb %q", task.ErrInvalid, cmd.Verb)
		}
		if _, ok := parseID(cmd.Task); !ok {
			return task.ErrNotFound
		}
		var err error
		after, err = s.control(ctx, cmd)
		return err
	})
	if err == nil {
		after()
	}
	return err
}

// control does what is asked of a task, and returns whom to tell after the commit. A task that runs
// is in a claim, and one that waits has a row in ready or delayed, or stands on a sheet; claims and ends move it from here to there, so
// all are tried until one is found. Sheets, and claims that they look at, are seen to first and apart: they concern
// other tasks too, which must not wait for this process if it is stopped in the middle of the transaction.
func (s *Store) control(ctx context.Context, cmd task.Command) (after func(), err error) {
	for done := false; !done; {
		if _, err := s.pool.Exec(ctx, s.q.restoreOne, cmd.Task); err != nil {
			return nil, err
		}
		if cmd.Verb != task.VerbRetry {
			if _, err := s.pool.Exec(ctx, s.q.apartTask, cmd.Task); err != nil {
				return nil, err
			}
		}
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			after, done, err = s.controlOnce(ctx, tx, cmd)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return after, nil
}

// controlOnce is not done when the task has moved meanwhile.
func (s *Store) controlOnce(ctx context.Context, tx pgx.Tx, cmd task.Command) (after func(), done bool, err error) {
	var (
		status  task.Status
		lane    int32
		key     string
		onSheet bool
	)
	locked, err := tx.Exec(ctx, s.q.lockTask, cmd.Task)
	if err != nil {
		return nil, false, err
	}
	if locked.RowsAffected() == 0 {
		return nil, false, task.ErrNotFound
	}
	if err := tx.QueryRow(ctx, s.q.taskState, cmd.Task).Scan(&status, &lane, &key); err != nil {
		return nil, false, err
	}
	if err := tx.QueryRow(ctx, s.q.onSheet, cmd.Task).Scan(&onSheet); err != nil {
		return nil, false, err
	}
	if onSheet {
		status = task.Succeeded
	}
	running, done, err := s.controlRunning(ctx, tx, cmd)
	if err != nil || running {
		return s.asked, done, err
	}
	after = func() {}
	switch {
	case cmd.Verb == task.VerbInterrupt:
		return nil, false, task.ErrNotRunning
	case status == task.Cancelled && cmd.Verb == task.VerbCancel:
		return after, true, nil
	case status == task.Succeeded, status == task.Failed && cmd.Verb == task.VerbCancel:
		return nil, false, task.ErrAlreadyFinished
	case status.Ended():
		return s.moved, true, s.revive(ctx, tx, cmd.Task, lane, key)
	}
	var n int
	if err := tx.QueryRow(ctx, s.q.dropReady, cmd.Task).Scan(&n); err != nil {
		return nil, false, err
	}
	switch {
	case n == 0: // claimed in between
		return nil, false, nil
	case cmd.Verb == task.VerbCancel:
		if _, err := tx.Exec(ctx, s.q.keepRun, cmd.Task); err != nil {
			return nil, false, err
		}
		_, err := tx.Exec(ctx, s.q.cancelNow, cmd.Task)
		return after, true, err
	}
	return s.moved, true, s.retry(ctx, tx, cmd.Task)
}

// controlRunning asks something of a task's run, if it has one. It is not done when the run might still end on a sheet.
func (s *Store) controlRunning(ctx context.Context, tx pgx.Tx, cmd task.Command) (running, done bool, err error) {
	var (
		run    int64
		worker int32
		apart  bool
	)
	err = tx.QueryRow(ctx, s.q.running, cmd.Task).Scan(&run, &worker, nil, &apart)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, false, nil
	case err != nil:
		return false, false, err
	case cmd.Verb == task.VerbRetry:
		return false, false, task.ErrRunning
	case !apart:
		return true, false, nil
	}
	asked, err := tx.Exec(ctx, s.q.ask, cmd.Task, run, worker, string(cmd.Verb))
	return true, err == nil && asked.RowsAffected() == 1, err
}

// revive makes an ended task wait again.
func (s *Store) revive(ctx context.Context, tx pgx.Tx, id string, n int32, key string) error {
	if key != "" {
		l, err := s.byNumber(ctx, n)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, s.q.takeKey, l.kind, key, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return task.ErrKeyBusy
		}
	}
	return s.retry(ctx, tx, id)
}

func (s *Store) retry(ctx context.Context, tx pgx.Tx, id string) error {
	if _, err := tx.Exec(ctx, s.q.keepRun, id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, s.q.retried, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, s.q.makeReady, id, carried)
	return err
}
