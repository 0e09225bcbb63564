package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// maxAttempts is how many times a call is tried.
const maxAttempts = 5

// once runs fn, which executes exactly one transaction, under the store's time limit. It runs fn
// again only when the transaction has certainly done nothing. What fn does after the commit must
// not fail: a repetition would commit a second time.
func (s *Store) once(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.call(ctx, isUndone, fn)
}

// again runs fn as once does, and runs it again also when the answer was lost. So fn must only
// read, or write what stays the same when it is written twice.
func (s *Store) again(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.call(ctx, isTransient, fn)
}

// call runs fn until it succeeds, fails in a way that is not repeatable, or has been tried often
// enough.
func (s *Store) call(ctx context.Context, repeatable func(error) bool, fn func(ctx context.Context) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	return s.wrap(ctx, limited, retry(limited, repeatable, s.discard, fn))
}

// discard closes the pool's sessions after one of them was unusable. Sessions in use are closed
// when they are released.
func (s *Store) discard(err error) {
	if isUnusableSession(err) {
		s.log.Debug("reopening the connections to the database, since one of them was unusable", "error", err)
		s.pool.Reset()
	}
}

// retry runs fn again, after a growing pause, while its errors are repeatable.
func retry(ctx context.Context, repeatable func(error) bool, failed func(error), fn func(context.Context) error) error {
	pause := 5 * time.Millisecond
	for n := 1; ; n++ {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		failed(err)
		if n == maxAttempts || !repeatable(err) {
			return err
		}
		select {
		// Random, so that two transactions that collided do not collide again.
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
		pause *= 2
	}
}

// wrap adds the store's name to an error. Errors that the contract of task.Store names are returned
// as they are.
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
	if storekit.IsContractError(err) {
		return err
	}
	return fmt.Errorf("pgstore: %w", explain(err))
}
