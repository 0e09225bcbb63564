package sqlitestore

import (
	"context"
	"database/sql"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// counts are by how much the numbers of ended tasks change.
type counts map[task.Count]int

func (c counts) add(queue, kind string, status task.Status, n int) {
	c[task.Count{Queue: queue, Kind: kind, Status: status}] += n
}

// rows are for the statement CountEnded.
func (c counts) rows() []any {
	var all []any
	for of, n := range c {
		all = append(all, of.Queue, of.Kind, string(of.Status), n)
	}
	return all
}

// Count implements task.Store. What waits and what runs is counted row by row.
func (s *Store) Count(ctx context.Context) (task.Counts, error) {
	if err := s.usable(ctx); err != nil {
		return task.Counts{}, err
	}
	var counts task.Counts
	err := each(ctx, s.reader, "Counts", nil, func(rows *sql.Rows) error {
		var c task.Count
		err := rows.Scan(&c.Queue, &c.Kind, &c.Status, &c.N)
		switch {
		case c.Kind != "":
			counts.Tasks = append(counts.Tasks, c)
		case c.Status == "":
			counts.Paused = append(counts.Paused, c.Queue)
		case c.Status == task.StatusRunning:
			counts.SuspectsRunning = c.N
		default:
			counts.SuspectsWaiting = c.N
		}
		return err
	})
	if err != nil {
		return task.Counts{}, s.wrap(ctx, err)
	}
	slices.Sort(counts.Paused)
	task.SortCounts(counts.Tasks)
	return counts, nil
}
