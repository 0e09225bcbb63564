package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/task"
)

// A session of the server plans a statement when it meets it for the first time, and reads about the tables in
// it: 10 to 20 ms for a claim, or for the end of a run, where each later one takes one or two. In a handover both
// would come to that, the process that ends and the one that takes over. So a worker's store has them planned when
// it registers, with nothing to claim or to end, on as many connections as a worker uses that has little to do.

// warmConnections is how many: one for what it does, and one for the beat that comes meanwhile.
const warmConnections = 2

// warmPatience is how long one is held while another is waited for, which a busy pool may not have.
const warmPatience = 500 * time.Millisecond

// warm has the statements planned, once for a store.
func (s *Store) warm() {
	s.warming.Do(func() {
		// Where nothing is prepared, nothing is kept.
		if !s.closed.Load() && s.pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
			s.routines.Go(s.planAll)
		}
	})
}

// planAll plans on some connections. What fails here fails again where it is reported.
func (s *Store) planAll() {
	ctx, cancel := context.WithTimeout(s.life, s.timeout)
	defer cancel()
	soon, tooLate := context.WithTimeout(ctx, warmPatience)
	defer tooLate()
	var conns []*pgxpool.Conn
	for range min(warmConnections, int(s.pool.Config().MaxConns)) { // all of them first: one that was given back would come again
		conn, err := s.pool.Acquire(soon)
		if err != nil {
			break
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		err := s.plan(ctx, conn)
		conn.Release()
		if err != nil {
			s.log.Debug("statements not planned ahead", "error", err)
		}
	}
}

// plan runs the statements so that they find nothing. Without a worker a claim locks nothing.
func (s *Store) plan(ctx context.Context, conn *pgxpool.Conn) error {
	claim := append(new(wanted).args(task.ClaimRequest{}), []int64{})
	none := newApplyArrays(nil)
	var errs []error
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{s.q.claimOne, claim},
		{s.q.claimMany, claim},
		{s.q.recall, []any{none.tasks}},
		{s.q.checkpoint, applyArgs(within, nil)},
		{s.q.finish, applyArgs(ending, nil)},
		{s.q.succeed, []any{none.tasks, none.runs, ""}},
	} {
		_, err := conn.Exec(ctx, q.sql, q.args...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
