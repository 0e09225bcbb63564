package pgstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// A task that was not claimed before its start_before has expired: no claim takes it, and a
// statement that meets it ends it. These look for expired tasks:
//
//   - each poll;
//   - a command to delete a waiting task;
//   - listings, counts, new tasks with keys, and ticks of schedules that allow one task at a time:
//     once a second at most;
//   - each process with workers, as these may be too busy to poll.

const (
	// expireMost bounds the tasks that one statement ends.
	expireMost = 5000
	// expireRounds bounds the statements of one call.
	expireRounds = 10
	// expireEvery is how long a store relies on there having been no expired tasks. expireLate is
	// the same in the background: a poll should have looked by then.
	expireEvery = time.Second
	expireLate  = 1500 * time.Millisecond
)

// expiry is when the store last looked for expired tasks and found none.
type expiry struct {
	mu sync.Mutex
	at time.Time
}

// looked notes that there are no expired tasks.
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

// expire ends tasks that have expired, at most expireMost of them, and returns how many.
func (s *Store) expire(ctx context.Context) (n int, err error) {
	err = s.again(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.q.Expire, int64(expireMost)).Scan(&n)
	})
	if err == nil && n == 0 {
		s.expiry.looked()
	}
	return n, err
}

// expireDue ends expired tasks, up to expireRounds parts of them, unless a look within the time
// after found none.
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

// hasKeys reports whether some of the new tasks have keys.
func hasKeys(tasks []task.NewTask) bool {
	return slices.ContainsFunc(tasks, func(n task.NewTask) bool { return n.Key != "" })
}
