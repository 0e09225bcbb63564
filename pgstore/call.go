package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

// call runs fn under the store's time limit, and again when the server asks for that or nothing has
// been sent. fn must be repeatable as long as it has done nothing.
func (s *Store) call(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	for n := 1; ; n++ {
		err := fn(limited)
		if err == nil || n == 5 || !again(err) {
			return s.wrap(ctx, limited, err)
		}
	}
}

// lockNotAvailable is the code of a wait that took longer than lock_timeout.
const lockNotAvailable = "55P03"

// again says whether a statement has done nothing and may do better next time: a deadlock, a
// serialization failure, or a connection that was broken before it was used.
func again(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code == "40P01" || e.Code == "40001"
	}
	return pgconn.SafeToRetry(err)
}

// wrap names the store in an error, and lets the contract's own errors through.
func (s *Store) wrap(ctx, limited context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		return task.ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limited.Err() != nil:
		return fmt.Errorf("pgstore: the database did not answer within %v: %w", s.timeout.Round(time.Millisecond), err)
	}
	for _, known := range []error{task.ErrWorkerGone, task.ErrWorkerAlive, task.ErrNotFound, task.ErrInvalid,
		task.ErrKeyBusy, task.ErrRunning, task.ErrNotRunning, task.ErrAlreadyFinished} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("pgstore: %w", explain(err))
}

// itemsFault says whether an error was caused by what was to be written, or by who is at it, and not by the
// server's state: then the other items of a batch may be written without that one.
func itemsFault(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	if e.Code == lockNotAvailable {
		return true
	}
	switch e.Code[:2] {
	case "21", "22", "23", "54": // cardinality, data, integrity, program limit
		return true
	}
	return false
}
