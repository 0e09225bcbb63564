package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// counts are the changes of the numbers of ended tasks.
type counts map[task.Count]int

func (c counts) add(queue, kind string, status task.Status, n int) {
	c[task.Count{Queue: queue, Kind: kind, Status: status}] += n
}

// rows returns the arguments of the statement CountEnded.
func (c counts) rows() []any {
	var all []any
	for of, n := range c {
		all = append(all, of.Queue, of.Kind, string(of.Status), n)
	}
	return all
}

// Count implements task.Store. Waiting and running tasks are counted row by row. The rows of the
// answer are added up as they arrive, since there may be very many.
func (s *Store) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	if err := s.usable(ctx); err != nil {
		return task.Counts{}, err
	}
	s.expire(ctx)
	var (
		tally            = storekit.NewTally(q)
		paused           []string
		queued           task.Count // the queued tasks of the current kind and queue
		interrupted      int
		waiting, running int // the numbers of suspects
	)
	flush := func() {
		queued.Status = task.StatusQueued
		queued.N -= interrupted
		tally.Add(queued)
		queued.Status, queued.N = task.StatusInterrupted, interrupted
		tally.Add(queued)
		queued, interrupted = task.Count{}, 0
	}
	err := each(ctx, s.reader, "Counts", nil, func(rows *sql.Rows) error {
		var (
			c           task.Count
			i, suspects int
		)
		if err := rows.Scan(&c.Kind, &c.Queue, &c.Status, &c.N, &i, &suspects); err != nil {
			return err
		}
		waiting += suspects
		switch {
		case c.Kind == "" && c.Status == task.StatusRunning:
			running = c.N
		case c.Kind == "":
			paused = append(paused, c.Queue)
		case c.Status != task.StatusQueued:
			tally.Add(c)
		default:
			if c.Kind != queued.Kind || c.Queue != queued.Queue {
				flush()
				queued.Kind, queued.Queue = c.Kind, c.Queue
			}
			queued.N, interrupted = queued.N+c.N, interrupted+i
		}
		return nil
	})
	if err != nil {
		return task.Counts{}, s.wrap(ctx, err)
	}
	flush()
	tally.Suspects(waiting, running)
	return tally.Counts(paused), nil
}
