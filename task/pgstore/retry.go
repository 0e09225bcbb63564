package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// maxAttempts is how often a call is tried.
const maxAttempts = 5

// once runs fn, which makes exactly one transaction, under the store's time limit. It is run again
// only when that transaction has certainly done nothing. What fn does after the commit must not
// fail: it would be committed a second time.
func (s *Store) once(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.call(ctx, isUndone, fn)
}

// again runs fn as once does, and repeats it also when the answer was lost: fn reads, or writes
// what is the same after the second time.
func (s *Store) again(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.call(ctx, isTransient, fn)
}

// call runs fn until it succeeds, fails in a way that is not worth a repetition, or has been tried
// often enough.
func (s *Store) call(ctx context.Context, repeatable func(error) bool, fn func(ctx context.Context) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	return s.wrap(ctx, limited, retry(limited, repeatable, s.discard, fn))
}

// discard closes the pool's sessions after one of them turned out to be of no use: those that are
// in use now are closed when they come back.
func (s *Store) discard(err error) {
	if isUnusableSession(err) {
		s.log.Debug("the connections to the database are made anew, since one of them was of no use", "error", err)
		s.pool.Reset()
	}
}

// retry runs fn again, after a pause that grows, while its errors are repeatable.
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
		case <-time.After(pause/2 + rand.N(pause)): // two transactions that collided do not do so again
		case <-ctx.Done():
			return err
		}
		pause *= 2
	}
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
	if storekit.IsContractError(err) {
		return err
	}
	return fmt.Errorf("pgstore: %w", explain(err))
}
