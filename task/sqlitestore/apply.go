package sqlitestore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

const (
	// maxPortion and maxPortionBytes bound the changes that are written at once, and so the memory
	// that a call needs.
	maxPortion      = 500
	maxPortionBytes = 4 << 20
)

// Apply implements task.Store. The changes share a transaction; when one of them cannot be written,
// each gets its own.
func (s *Store) Apply(ctx context.Context, changes []task.Change) []error {
	errs := make([]error, len(changes))
	err := s.inTx(ctx, func(t *txn) error {
		clear(errs) // the transaction may be repeated
		now := s.now().UnixMicro()
		for from := 0; from < len(changes); {
			to := from + portion(changes[from:])
			if err := t.apply(changes[from:to], errs[from:to], now); err != nil {
				return err
			}
			from = to
		}
		return nil
	})
	switch {
	case err == nil:
	case len(changes) > 1 && isOfRow(err):
		for i := range changes {
			errs[i] = s.Apply(ctx, changes[i:i+1])[0]
		}
	default:
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// portion returns how many changes are written next. Each task is in a portion only once: a second
// change has to see the first.
func portion(changes []task.Change) int {
	seen := make(map[string]bool, min(len(changes), maxPortion))
	bytes := 0
	for n := range changes {
		c := &changes[n]
		bytes += len(c.Checkpoint) + len(c.Result) + len(c.Log) + len(c.Error)
		if c.Step != nil {
			bytes += len(c.Step.Body)
		}
		if n == maxPortion || n > 0 && bytes > maxPortionBytes || seen[c.Task] {
			return n
		}
		seen[c.Task] = true
	}
	return len(changes)
}

// held is a run that has not ended, with what is needed of its task.
type held struct {
	number, priority, created int64
	kind, queue               string
	run, runs                 int64
	worker, host              string
	pid, started, runAt       int64
	counters                  task.Counters
	limits                    task.Limits
	keep                      sql.NullString
	command                   task.Verb
}

// apply writes changes of different tasks, and sets in errs why one of them was not written. The
// error that it returns is one of the database.
func (t *txn) apply(changes []task.Change, errs []error, now int64) error {
	runs, err := t.heldRuns(changes)
	if err != nil {
		return err
	}
	w := writes{now: now, counts: make(counts)}
	for i := range changes {
		c := &changes[i]
		h := runs[c.Task]
		if h == nil || h.run != c.Run || h.worker != c.Worker {
			if errs[i], err = t.late(c); err != nil {
				return err
			}
			continue
		}
		w.add(c, h)
	}
	t.news = t.news || len(w.waiting) > 0
	return w.write(t)
}

// heldRuns returns the runs that hold the tasks of changes.
func (t *txn) heldRuns(changes []task.Change) (map[string]*held, error) {
	ids := make([]string, len(changes))
	for i := range changes {
		ids[i] = changes[i].Task
	}
	arg, err := list(ids)
	if err != nil {
		return nil, err
	}
	runs, all := make(map[string]*held, len(changes)), make([]held, 0, len(changes))
	err = each(context.Background(), t, "HeldRuns", []any{arg}, func(rows *sql.Rows) error {
		var (
			id string
			h  held
		)
		err := rows.Scan(&id, &h.number, &h.kind, &h.queue, &h.priority, &h.created,
			&h.run, &h.runs, &h.worker, &h.host, &h.pid, &h.started, &h.runAt,
			&h.counters.Attempts, &h.counters.Interruptions, &h.counters.Crashes, &h.counters.CrashStreak, &h.counters.InterruptStreak, &h.counters.Suspicion,
			&h.limits.MaxAttempts, &h.limits.MaxCrashes, &h.limits.MaxInterruptions, &h.keep, &h.command)
		all = append(all, h)
		runs[id] = &all[len(all)-1]
		return err
	})
	return runs, err
}

// late returns the answer to a change whose run is no longer held: a repetition, a contradiction,
// or a loss.
func (t *txn) late(c *task.Change) (verdict, err error) {
	var (
		status    task.Status
		reason    task.Reason
		reclaimed bool
	)
	err = one(context.Background(), t, "OutcomeOfRun", []any{c.Task, c.Run, c.Worker}, &status, &reason, &reclaimed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		exists := false
		err := one(context.Background(), t, "TaskExists", []any{c.Task}, &exists)
		if !exists {
			return task.ErrNotFound, err
		}
		return task.ErrLeaseLost, err
	case err != nil:
		return nil, err
	case reclaimed || c.Status == task.StatusRunning:
		return task.ErrLeaseLost, nil
	case status == c.Status && reason == c.Reason, status == task.StatusCancelled && c.Status.Claimable():
		return nil, nil
	}
	return task.ErrAlreadyFinished, nil
}

// writes are the rows that changes write and remove, by the statement for it.
type writes struct {
	now int64

	counters, checkpoints, steps, logs []any
	ended, waiting, runs               []any
	counts                             counts
	endedRuns, endedTasks              []int64
	longHistories                      []int64
}

// add records what a change of a held run writes.
func (w *writes) add(c *task.Change, h *held) {
	n := &c.Counters
	if c.Checkpoint != nil || c.Progress != nil {
		var fraction, message any
		if c.Progress != nil {
			fraction, message = c.Progress.Fraction, c.Progress.Message
		}
		w.checkpoints = append(w.checkpoints, h.number, c.Checkpoint, fraction, message)
	}
	if len(c.Log) > 0 {
		w.logs = append(w.logs, h.number, c.Log[max(0, len(c.Log)-task.MaxLog):])
	}
	if c.Status == task.StatusRunning {
		if p := c.Step; p != nil {
			w.steps = append(w.steps, h.number, p.Name, p.Place, string(p.State), p.Version, h.run, w.now, p.Body)
		}
		if *n != h.counters {
			w.counters = append(w.counters, h.number, n.Suspicion, n.Attempts, n.Interruptions, n.Crashes, n.CrashStreak, n.InterruptStreak)
		}
		return
	}
	status, reason := c.Status, c.Reason
	if h.command == task.VerbCancel && status.Claimable() {
		status, reason = task.StatusCancelled, "" // a cancel was requested
	}
	w.endedRuns = append(w.endedRuns, h.number)
	if status.Ended() {
		var result []byte
		if status == task.StatusSucceeded {
			result = c.Result
		}
		w.endedTasks = append(w.endedTasks, h.number)
		w.ended = append(w.ended, h.number, h.created, w.now, string(status), string(reason), c.Error,
			h.run, h.runs, h.worker, h.host, h.pid, h.started, h.runAt, c.Crashed, c.Reclaimed,
			n.Attempts, n.Interruptions, n.Crashes, n.CrashStreak, n.InterruptStreak,
			h.limits.MaxAttempts, h.limits.MaxCrashes, h.limits.MaxInterruptions, expires(h.keep, status, w.now), result)
		w.counts.add(h.queue, h.kind, status, 1)
		return
	}
	runAt := w.now + c.Delay.Microseconds()
	if !c.RunAt.IsZero() {
		runAt = c.RunAt.UnixMicro()
	}
	w.runs = append(w.runs, h.number, h.run, h.worker, h.host, h.pid, h.started, w.now,
		string(status), string(reason), c.Error, c.Crashed, c.Reclaimed)
	if h.runs > task.MaxHistory {
		w.longHistories = append(w.longHistories, h.number)
	}
	w.waiting = append(w.waiting, h.number, c.Task, h.kind, h.queue, runAt <= w.now, n.Suspicion, h.priority,
		status == task.StatusInterrupted, runAt, w.now, h.run, h.runs,
		n.Attempts, n.Interruptions, n.Crashes, n.CrashStreak, n.InterruptStreak,
		h.limits.MaxAttempts, h.limits.MaxCrashes, h.limits.MaxInterruptions, string(reason), c.Error)
}

// write writes all that was recorded.
func (w *writes) write(t *txn) error {
	for _, s := range []struct {
		name  string
		rows  []any
		after []any
	}{
		{"SetCounters", w.counters, nil},
		{"KeepCheckpoints", w.checkpoints, nil},
		{"KeepSteps", w.steps, nil},
		{"KeepLogs", w.logs, []any{task.MaxLog}},
		{"EndTasks", w.ended, nil},
		{"CountEnded", w.counts.rows(), nil},
		{"Requeue", w.waiting, nil},
		{"KeepRuns", w.runs, nil},
	} {
		if err := t.rows(s.name, s.rows, s.after...); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		name  string
		tasks []int64
	}{
		{"ForgetOldestRuns", w.longHistories},
		{"EndRuns", w.endedRuns},
		{"ReleaseKeys", w.endedTasks},
	} {
		if err := t.execList(s.name, s.tasks); err != nil {
			return err
		}
	}
	return nil
}
