package pgstore

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// Count implements task.Store. Queued is what remains of all tasks that are there, less those that
// have ended, run, or wait after an interruption.
func (s *Store) Count(ctx context.Context) (task.Counts, error) {
	var counts task.Counts
	err := s.again(ctx, func(ctx context.Context) error {
		var batch pgx.Batch // one transaction: the tables are read from end to end
		batch.Queue(`select pg_catalog.set_config('enable_seqscan', 'on', true)`)
		batch.Queue(s.q.Count).Query(func(rows pgx.Rows) (err error) {
			counts, err = collectCounts(rows)
			return err
		})
		return s.pool.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return task.Counts{}, err
	}
	return counts, nil
}

// addedTasks is the status under which the counts have all tasks that are there.
const addedTasks = "added"

// The lines of the suspects, which have no kind.
const suspectsWaiting, suspectsRunning = "waiting", "running"

func collectCounts(rows pgx.Rows) (counts task.Counts, err error) {
	numbers := make(map[task.Count]int)
	var (
		queue, kind, status string
		n                   int
	)
	_, err = pgx.ForEachRow(rows, []any{&queue, &kind, &status, &n}, func() error {
		queued := task.Count{Queue: queue, Kind: kind, Status: task.StatusQueued}
		switch {
		case kind == "" && status == suspectsWaiting:
			counts.SuspectsWaiting = n
		case kind == "" && status == suspectsRunning:
			counts.SuspectsRunning = n
		case kind == "":
			counts.Paused = append(counts.Paused, queue)
		case status == addedTasks:
			numbers[queued] += n
		default:
			numbers[queued] -= n
			numbers[task.Count{Queue: queue, Kind: kind, Status: task.Status(status)}] += n
		}
		return nil
	})
	for c, n := range numbers {
		if c.N = n; n > 0 {
			counts.Tasks = append(counts.Tasks, c)
		}
	}
	slices.Sort(counts.Paused)
	task.SortCounts(counts.Tasks)
	return counts, err
}
