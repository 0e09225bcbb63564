package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/task"
)

// A session of the server plans a statement when it receives it for the first time, and reads the
// catalogues of its tables: 10 to 20 ms for a claim, or for the end of a run. Each later execution
// takes 1 or 2 ms. A handover would pay for the planning twice: in the process that ends and in the
// one that takes over. So a store has the statements of a run planned when a worker registers. It
// runs them with nothing to claim or to end, on as many connections as a worker with little work
// uses.

const (
	// preparedConnections is the number of these connections: one for a statement, and one for
	// another statement that comes meanwhile.
	preparedConnections = 2
	// preparePatience is how long all of them are waited for: a busy pool may have no second one, and
	// the first one is held meanwhile.
	preparePatience = 500 * time.Millisecond
)

// prepareAhead has the statements planned, once for a store.
func (s *Store) prepareAhead() {
	s.preparing.Do(func() {
		// In the other modes nothing is prepared, so planning in advance would not last.
		if !s.closed.Load() && s.pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
			s.routines.Go(s.prepareAll)
		}
	})
}

// prepareAll has the statements planned on some connections. An error here is only logged: the same
// statement fails again where its error is returned.
func (s *Store) prepareAll() {
	ctx, cancel := context.WithTimeout(s.life, s.timeout)
	defer cancel()
	soon, tooLate := context.WithTimeout(ctx, preparePatience)
	defer tooLate()
	var conns []*pgxpool.Conn
	// Acquire all of them first: the pool would return a released one again.
	for range min(preparedConnections, int(s.pool.Config().MaxConns)) {
		conn, err := s.pool.Acquire(soon)
		if err != nil {
			break
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		err := s.prepareOn(ctx, conn)
		conn.Release()
		if err != nil {
			s.log.Debug("statements not planned ahead", "error", err)
		}
	}
}

// prepareOn runs the statements with arguments that match nothing. A claim without a worker locks
// nothing.
func (s *Store) prepareOn(ctx context.Context, conn *pgxpool.Conn) error {
	_, claim := conn.Exec(ctx, s.q.Claim, s.claimArgs(task.ClaimRequest{}, nil)...)
	_, finish := conn.Exec(ctx, s.q.FinishRuns, finishArgs(nil)...)
	_, save := conn.Exec(ctx, s.q.SaveRuns, saveArgs(nil)...)
	return errors.Join(claim, finish, save)
}
