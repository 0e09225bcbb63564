package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// maintainEvery is how often a process with workers maintains the tables.
	maintainEvery = 10 * time.Second
	// deadRows is the number of dead rows above which a table is vacuumed, if they are also more than
	// twice as many as the live ones. The server vacuums too, but by default checks once a minute.
	deadRows = 20_000
	// countRows is the number of rows above which the counts of a kind, a queue and a status are added
	// up.
	countRows = 20
)

// maintain starts the maintenance of the tables, once for a store.
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
			s.log.Debug("the tables could not be maintained; the server does that too, less often", "error", explain(err))
		}
	}
}

// vacuum vacuums the tables with far more dead rows than live ones. If the role may not do that the
// server answers with a warning, and the table waits for the vacuum of the server.
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
