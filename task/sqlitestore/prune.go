package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Prune implements task.Store. The next call does not meet what this one has removed, so no
// position is needed: Next only reports that there may be more.
func (s *Store) Prune(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
	var done task.PruneReply
	err := s.inTx(ctx, func(t *txn) (err error) {
		now := s.now()
		if !req.Clock.IsZero() && req.Clock.Before(now) {
			now = req.Clock
		}
		if _, err := t.exec("PruneWindows", now.UnixMicro(), req.Max); err != nil {
			return err
		}
		if _, err := t.exec("RemoveEmptySets", now.Add(-storekit.EmptySetKept).UnixMicro()); err != nil {
			return err
		}
		if done.Tasks, err = t.prune("ExpiresFirst", now.UnixMicro(), req.Max); err != nil || req.KeepOthers || done.Tasks >= req.Max {
			return err
		}
		others, err := t.prune("EndedFirst", now.Add(-req.Age).UnixMicro(), req.Max-done.Tasks)
		done.Tasks += others
		return err
	})
	if err != nil {
		return task.PruneReply{}, err
	}
	if done.Tasks > 0 && done.Tasks == req.Max {
		done.Next = "more"
	}
	return done, nil
}

// prune removes tasks that had ended, or whose own retention was over, by a time, those first whose
// time came first.
func (t *txn) prune(which string, before int64, most int) (int, error) {
	var old []int64
	fewer := make(counts)
	err := each(context.Background(), t, which, []any{before, most}, func(rows *sql.Rows) error {
		var (
			number int64
			c      task.Count
		)
		err := rows.Scan(&number, &c.Status, &c.Queue, &c.Kind)
		old = append(old, number)
		fewer.add(c.Queue, c.Kind, c.Status, -1)
		return err
	})
	if err != nil || len(old) == 0 {
		return 0, err
	}
	return len(old), t.remove(old, fewer)
}

// remove removes ended tasks with everything that belongs to them.
func (t *txn) remove(numbers []int64, fewer counts) error {
	for _, name := range []string{"PruneRuns", "PruneCheckpoints", "PruneSteps", "PruneLogs", "PruneCommands", "PruneEnded", "PruneReplaced", "PruneTasks"} {
		if err := t.execList(name, numbers); err != nil {
			return err
		}
	}
	if err := t.rows("CountEnded", fewer.rows()); err != nil {
		return err
	}
	_, err := t.exec("PruneCounts")
	return err
}
