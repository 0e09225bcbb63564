package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// maintainEvery is how often a process with workers maintains the tables.
	maintainEvery = 10 * time.Second
	// deadRows is the number of dead rows from which a table is vacuumed, if they are also twice as
	// many as the others. The server vacuums too, but by default checks once a minute.
	deadRows = 20_000
	// countRows is the number of changes from which the counts of a kind, a queue and a status are
	// added up.
	countRows = 20
)

// maintain begins to maintain the tables, once for a store.
func (s *Store) maintain() {
	s.maintaining.Do(func() {
		if !s.closed.Load() {
			s.routines.Go(s.maintainTables)
			s.routines.Go(s.expireTasks)
		}
	})
}

func (s *Store) maintainTables() {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.life.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.life, max(s.timeout, time.Minute))
		err := s.vacuum(ctx)
		if err == nil && s.busy.Swap(false) {
			_, err = s.pool.Exec(ctx, s.q.CompactCounts, int64(countRows))
		}
		cancel()
		if err != nil && s.life.Err() == nil {
			s.log.Debug("the tables could not be looked after; the server does that too, less often", "error", explain(err))
		}
	}
}

// vacuum vacuums the tables whose dead rows far exceed the others. The server answers a role that
// may not do that with a warning, and leaves the table to its own vacuum.
func (s *Store) vacuum(ctx context.Context) error {
	if !s.busy.Load() {
		return nil
	}
	rows, err := s.pool.Query(ctx, s.q.Bloat, int64(deadRows))
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, table := range tables {
		if _, err := s.pool.Exec(ctx, `vacuum (skip_locked) `+s.ident+`.`+pgx.Identifier{table}.Sanitize(), pgx.QueryExecModeExec); err != nil {
			return err
		}
	}
	return nil
}
