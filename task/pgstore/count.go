package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Count implements task.Store. The number of queued tasks is that of all tasks, less those that
// have ended, run, or wait after an interruption. The rows are added up as they arrive, since there
// may be very many.
func (s *Store) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	if err := s.expireDue(ctx, expireEvery); err != nil {
		return task.Counts{}, err
	}
	var counts task.Counts
	err := s.again(ctx, func(ctx context.Context) error {
		var batch pgx.Batch // one transaction: the tables are read from end to end
		batch.Queue(`select pg_catalog.set_config('enable_seqscan', 'on', true)`)
		batch.Queue(s.q.Count).Query(func(rows pgx.Rows) (err error) {
			counts, err = collectCounts(rows, q)
			return err
		})
		return s.pool.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return task.Counts{}, err
	}
	return counts, nil
}

// addedTasks is the status under which the counts have the number of all tasks.
const addedTasks = "added"

// The rows with the numbers of suspects, which have no kind, have one of these statuses.
const suspectsWaiting, suspectsRunning = "waiting", "running"

// collectCounts adds up rows, which are sorted by queue and kind.
func collectCounts(rows pgx.Rows, q task.CountQuery) (task.Counts, error) {
	var (
		tally               = storekit.NewTally(q)
		paused              []string
		queued              task.Count // of the queue and the kind of the current rows
		queue, kind, status string
		n, waiting, running int
	)
	_, err := pgx.ForEachRow(rows, []any{&queue, &kind, &status, &n}, func() error {
		switch {
		case kind == "" && status == suspectsWaiting:
			waiting = n
			return nil
		case kind == "" && status == suspectsRunning:
			running = n
			return nil
		case kind == "":
			paused = append(paused, queue)
			return nil
		}
		if queue != queued.Queue || kind != queued.Kind {
			tally.Add(queued)
			queued = task.Count{Queue: queue, Kind: kind, Status: task.StatusQueued}
		}
		if status == addedTasks {
			queued.N += n
			return nil
		}
		queued.N -= n
		tally.Add(task.Count{Queue: queue, Kind: kind, Status: task.Status(status), N: n})
		return nil
	})
	tally.Add(queued)
	tally.Suspects(waiting, running)
	return tally.Counts(paused), err
}
