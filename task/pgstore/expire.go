package pgstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// A task that was not claimed before its start_before has expired: no claim takes it, and whoever
// comes across it ends it. That is a poll, whoever looks for such a task by its id, and once a
// second whoever lists or counts tasks, and each process with workers: those may be too busy to
// poll.

const (
	// expireMost bounds the tasks that one statement ends.
	expireMost = 5000
	// expireRounds bounds the statements of one call.
	expireRounds = 10
	// expireEvery is for how long it counts that there were no expired tasks. A process with workers
	// looks when a poll should have done so for a while.
	expireEvery = time.Second
	expireLate  = 1500 * time.Millisecond
)

// expiry is when it was looked for expired tasks last.
type expiry struct {
	mu sync.Mutex
	at time.Time // there was none
}

// looked notes that there are none.
func (e *expiry) looked() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = time.Now()
}

func (e *expiry) due(after time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.at) >= after
}

// expire ends tasks that have expired, a part of them where there are many, and returns how many.
func (s *Store) expire(ctx context.Context) (n int, err error) {
	err = s.again(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.q.Expire, int64(expireMost)).Scan(&n)
	})
	if err == nil && n == 0 {
		s.expiry.looked()
	}
	return n, err
}

// expireDue is expire of all, if nobody has looked for so long.
func (s *Store) expireDue(ctx context.Context, after time.Duration) error {
	if !s.expiry.due(after) {
		return nil
	}
	for range expireRounds {
		if n, err := s.expire(ctx); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// expireTasks looks for expired tasks until the store is closed.
func (s *Store) expireTasks() {
	tick := time.NewTicker(expireLate / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.life.Done():
			return
		}
		if err := s.expireDue(s.life, expireLate); err != nil && s.life.Err() == nil {
			s.log.Debug("tasks that were not begun in time could not be ended; others do that too", "error", explain(err))
		}
	}
}

// hasKeys reports whether some of new tasks have keys.
func hasKeys(tasks []task.NewTask) bool {
	return slices.ContainsFunc(tasks, func(n task.NewTask) bool { return n.Key != "" })
}
