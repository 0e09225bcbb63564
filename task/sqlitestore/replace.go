package sqlitestore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

// held returns the result for a new task whose key is held (rules 21, 50).
func (t *txn) held(n *task.NewTask, holder string, now int64) (task.AddResult, error) {
	switch n.OnConflict {
	case task.Discard:
		return task.AddResult{ID: holder, Outcome: task.OutcomeDiscarded}, nil
	case task.Replace:
		replaced, err := t.replace(n, holder, now)
		if replaced {
			return task.AddResult{ID: holder, Outcome: task.OutcomeReplaced}, err
		}
		return task.AddResult{ID: holder, Outcome: task.OutcomeExisting}, err
	}
	return task.AddResult{ID: holder, Outcome: task.OutcomeExisting}, nil
}

// replace gives the task that holds the key the content of a new task, if it waits.
func (t *txn) replace(n *task.NewTask, holder string, now int64) (replaced bool, err error) {
	var (
		number  int64
		payload []byte
		waits   bool
		by      string
	)
	err = one(context.Background(), t, "Replaceable", []any{holder}, &number, &payload, &waits, &by)
	switch {
	case errors.Is(err, sql.ErrNoRows): // the holder has been pruned, and its window is not over
		return false, nil
	case err != nil:
		return false, err
	case by == n.ID:
		return true, nil
	case !waits:
		return false, nil
	}
	t.news = true
	first := sha256.Sum256(payload)
	runAt := now + n.Delay.Microseconds()
	for _, s := range []struct {
		name string
		args []any
	}{
		{"NoteReplaced", []any{number, first[:], n.ID}},
		{"ReplaceTask", []any{number, blob(n.Payload), metaColumn(n.Meta), int64(n.Priority), runAt}},
		{"ReplaceWaiting", []any{number, runAt <= now, int64(n.Priority), runAt, now, startBefore(n, now)}},
	} {
		if _, err := t.exec(s.name, s.args...); err != nil {
			return false, err
		}
	}
	return true, t.forgetSaved(number)
}
