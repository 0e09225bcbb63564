package sqlitestore

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

// Apply implements task.Store. The changes share a transaction; when one of them cannot be written,
// each gets its own.
func (s *Store) Apply(ctx context.Context, changes []task.Change) []error {
	errs := make([]error, len(changes))
	err := s.inTx(ctx, func(t *txn) error {
		now := s.now().UnixMicro()
		if done, err := s.applyPlain(t, changes, now); done || err != nil {
			return err
		}
		for i, c := range changes {
			verdict, err := s.apply(t, c, now)
			if err != nil {
				return err
			}
			errs[i] = verdict
			t.news = t.news || c.Status.Claimable()
		}
		return nil
	})
	switch {
	case err == nil:
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

// The statements of applyPlain. The runs stand in a table of the connection, which costs no disk.
const (
	batchTableSQL = `create temp table if not exists batch (task text not null, run integer not null)`
	batchSQL      = `insert into temp.batch (task, run) select value ->> 0, value ->> 1 from json_each(?)`
	batchEndSQL   = `update tasks set status = 'succeeded', since = ?1, reason = '', error = '', run = l.run, runs = 1, started = l.started, worker = l.worker,
		max_attempts = l.max_attempts, max_crashes = l.max_crashes, max_interruptions = l.max_interruptions
		from (select l.* from temp.batch b cross join leases l on l.task = b.task and l.run = b.run and l.runs = 1
			and l.worker = (select n from incarnations where id = ?2)) l where tasks.id = l.task and tasks.key = ''`
	batchTallySQL = `insert into tallies (lane, status, n) select l.lane, 'succeeded', count(*) from temp.batch b cross join leases l on l.task = b.task
		group by l.lane on conflict (lane, status) do update set n = n + excluded.n`
	batchUnleaseSQL = `delete from leases where task in (select task from temp.batch)`
)

// applyPlain ends many runs of one worker at once that have succeeded and leave nothing else: the
// common case, in a fraction of the time. It says false, and has done nothing, when the changes are
// of another sort or one of the runs is not held or not the task's first.
func (s *Store) applyPlain(t *txn, changes []task.Change, now int64) (done bool, err error) {
	list := make([][2]any, len(changes))
	for i, c := range changes {
		if c.Status != task.Succeeded || c.Checkpoint != nil || c.Progress != nil || c.Result != nil || len(c.Log) > 0 ||
			c.Error != "" || c.Taken || c.Worker != changes[0].Worker {
			return false, nil
		}
		list[i] = [2]any{c.Task, c.Run}
	}
	if len(changes) < 2 {
		return false, nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return false, err
	}
	if _, err := t.exec(`savepoint plain`); err != nil {
		return false, err
	}
	n, err := endPlain(t, string(b), now, changes[0].Worker)
	if err == nil && int(n) == len(changes) {
		_, err = t.exec(`release plain`)
		return err == nil, err
	}
	if _, undo := t.exec(`rollback to plain`); undo != nil {
		return false, errors.Join(err, undo)
	}
	_, released := t.exec(`release plain`)
	return false, errors.Join(err, released)
}

// endPlain returns how many of the runs have been ended. If not all of them were, the rest is not
// done.
func endPlain(t *txn, list string, now int64, worker string) (n int64, err error) {
	if _, err := t.exec(batchTableSQL); err != nil {
		return 0, err
	}
	if _, err := t.exec(`delete from temp.batch`); err != nil {
		return 0, err
	}
	listed, err := t.exec(batchSQL, list)
	if err != nil {
		return 0, err
	}
	if n, err = t.exec(batchEndSQL, now, worker); err != nil || n != listed {
		return n, err
	}
	if _, err := t.exec(batchTallySQL); err != nil {
		return 0, err
	}
	_, err = t.exec(batchUnleaseSQL)
	return n, err
}

// held is what a lease says.
type held struct {
	worker, lane                              int64
	runs                                      int
	started                                   int64
	asked                                     task.Verb
	maxAttempts, maxCrashes, maxInterruptions int
}

const (
	heldSQL = `select l.worker, l.lane, l.runs, l.started, l.asked, l.max_attempts, l.max_crashes, l.max_interruptions
		from leases l join incarnations i on i.n = l.worker where l.task = ? and l.run = ? and i.id = ?`
	countersSQL = `update tasks set attempts = ?, interruptions = ?, crashes = ?, crash_streak = ?, interrupt_streak = ? where id = ?`
	pastSQL     = `insert into runs (task, run, worker, started, ended, status, reason, error, crashed, taken)
		select id, run, worker, started, since, status, reason, error, crashed, taken from tasks where id = ? and run > 0
		on conflict do nothing`
	endSQL = `update tasks set status = ?, reason = ?, error = ?, since = ?, run = ?, runs = ?, started = ?, worker = ?, crashed = ?, taken = ?,
		max_attempts = ?, max_crashes = ?, max_interruptions = ?, result = coalesce(?, result), run_at = coalesce(?, run_at) where id = ?`
	unleaseSQL = `delete from leases where task = ?`
	tallySQL   = `insert into tallies (lane, status, n) values (?, ?, ?) on conflict (lane, status) do update set n = n + excluded.n`
)

// apply makes one change, or says by the verdict why it must not be made. The error is the
// database's.
func (s *Store) apply(t *txn, c task.Change, now int64) (verdict, err error) {
	var h held
	err = t.QueryRowContext(context.Background(), heldSQL, c.Task, c.Run, c.Worker).
		Scan(&h.worker, &h.lane, &h.runs, &h.started, &h.asked, &h.maxAttempts, &h.maxCrashes, &h.maxInterruptions)
	if noRows(err) {
		return late(t, c)
	}
	if err != nil {
		return nil, err
	}
	if err := update(t, c); err != nil || c.Status == task.Running {
		return nil, err
	}
	return nil, end(t, c, h, now)
}

// update writes what a run may change while it goes on.
func update(t *txn, c task.Change) error {
	n := c.Counters
	_, err := t.exec(countersSQL, n.Attempts, n.Interruptions, n.Crashes, n.CrashStreak, n.InterruptStreak, c.Task)
	if err == nil && c.Checkpoint != nil {
		_, err = t.exec(`update tasks set checkpoint = ? where id = ?`, c.Checkpoint, c.Task)
	}
	if err == nil && c.Progress != nil {
		_, err = t.exec(`update tasks set fraction = ?, message = ? where id = ?`, c.Progress.Fraction, c.Progress.Message, c.Task)
	}
	if err == nil && len(c.Log) > 0 {
		_, err = t.exec(`insert into logs (task, body) values (?1, substr(?2, -?3))
			on conflict (task) do update set body = substr(cast(body || ?2 as blob), -?3)`, c.Task, c.Log, task.MaxLog)
	}
	return err
}

// end ends a run.
func end(t *txn, c task.Change, h held, now int64) error {
	if h.asked == task.VerbCancel && c.Status.Claimable() {
		c.Status, c.Reason = task.Cancelled, "" // it was asked for
	}
	if h.runs > 1 {
		if err := past(t, c.Task, h.runs); err != nil {
			return err
		}
	}
	var result, runAt any
	if c.Status == task.Succeeded && c.Result != nil {
		result = c.Result
	}
	if c.Status.Claimable() {
		runAt = now + c.Delay.Microseconds()
	}
	if _, err := t.exec(endSQL, c.Status, c.Reason, c.Error, now, c.Run, h.runs, h.started, h.worker, c.Crashed, c.Taken,
		h.maxAttempts, h.maxCrashes, h.maxInterruptions, result, runAt, c.Task); err != nil {
		return err
	}
	if _, err := t.exec(unleaseSQL, c.Task); err != nil {
		return err
	}
	if c.Status.Ended() {
		return ended(t, c.Task, h.lane, c.Status)
	}
	w, err := waitingOf(t, c.Task)
	if err != nil {
		return err
	}
	return makeWait(t, w, now)
}

// past moves the last run but one to the history, of which MaxHistory runs are kept: the lease's,
// the one in the task's row, and the rest.
func past(t *txn, id string, runs int) error {
	if _, err := t.exec(pastSQL, id); err != nil || runs < task.MaxHistory {
		return err
	}
	_, err := t.exec(`delete from runs where task = ?1 and run <= (
		select run from runs where task = ?1 order by run desc limit 1 offset ?2)`, id, task.MaxHistory-2)
	return err
}

// ended gives back what an ended task held, and counts it.
func ended(t *txn, id string, lane int64, status task.Status) error {
	if _, err := t.exec(tallySQL, lane, status, 1); err != nil {
		return err
	}
	_, err := t.exec(`delete from keys where task = ?1 and (kind, key) = (
		select n.kind, t.key from tasks t join lanes n on n.n = t.lane where t.id = ?1 and t.key <> '')`, id)
	return err
}

// late says what a change means whose run is no longer held: a repetition, a contradiction, or a
// loss.
func late(t *txn, c task.Change) (verdict, err error) {
	var (
		status task.Status
		reason task.Reason
		taken  bool
	)
	err = t.QueryRowContext(context.Background(), `
		with i as (select n from incarnations where id = ?3)
		select status, reason, taken from runs where task = ?1 and run = ?2 and worker = (select n from i)
		union all
		select status, reason, taken from tasks where id = ?1 and run = ?2 and runs > 0 and worker = (select n from i)
			and not exists (select 1 from runs where task = ?1 and run = ?2)`, c.Task, c.Run, c.Worker).Scan(&status, &reason, &taken)
	switch {
	case noRows(err):
		var one int
		err := t.QueryRowContext(context.Background(), `select 1 from tasks where id = ?`, c.Task).Scan(&one)
		if noRows(err) {
			return task.ErrNotFound, nil
		}
		return task.ErrLeaseLost, err
	case err != nil:
		return nil, err
	case taken || c.Status == task.Running:
		return task.ErrLeaseLost, nil
	case status == c.Status && reason == c.Reason, status == task.Cancelled && c.Status.Claimable():
		return nil, nil
	}
	return task.ErrAlreadyFinished, nil
}
