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
// catalogues about its tables: 10 to 20 ms for a claim, or for the end of a run, where each later
// one takes one or two. A handover would pay that twice, in the process that ends and in the one
// that takes over. So a store has the statements of a run planned when a worker registers, with
// nothing to claim or to end, on as many connections as a worker uses that has little to do.

const (
	// preparedConnections is their number: one for a statement, and one for what comes meanwhile.
	preparedConnections = 2
	// preparePatience is how long one is held while another is waited for, which a busy pool may
	// not have.
	preparePatience = 500 * time.Millisecond
)

// prepareAhead has the statements planned, once for a store.
func (s *Store) prepareAhead() {
	s.preparing.Do(func() {
		// Where nothing is prepared, nothing is kept.
		if !s.closed.Load() && s.pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
			s.routines.Go(s.prepareAll)
		}
	})
}

// prepareAll has the statements planned on some connections. What fails here fails again where it
// is reported.
func (s *Store) prepareAll() {
	ctx, cancel := context.WithTimeout(s.life, s.timeout)
	defer cancel()
	soon, tooLate := context.WithTimeout(ctx, preparePatience)
	defer tooLate()
	var conns []*pgxpool.Conn
	for range min(preparedConnections, int(s.pool.Config().MaxConns)) { // all of them first: a released one would be acquired again
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

// prepareOn runs the statements with arguments that match nothing. Without a worker a claim locks
// nothing.
func (s *Store) prepareOn(ctx context.Context, conn *pgxpool.Conn) error {
	_, claim := conn.Exec(ctx, s.q.Claim, s.claimArgs(task.ClaimRequest{}, nil)...)
	_, finish := conn.Exec(ctx, s.q.FinishRuns, finishArgs(nil)...)
	_, save := conn.Exec(ctx, s.q.SaveRuns, saveArgs(nil)...)
	return errors.Join(claim, finish, save)
}
