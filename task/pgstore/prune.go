package pgstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Prune implements task.Store. It first removes, in the order of their ends, tasks without a
// retention of their own, and then tasks whose own retention is over.
func (s *Store) Prune(ctx context.Context, req task.PruneRequest) (done task.PruneReply, err error) {
	clock := req.Clock
	if clock.IsZero() {
		clock = noClock
	}
	if req.After == "" {
		err := s.pruneKeys(ctx, clock)
		if err == nil {
			err = s.tidy(ctx, req, clock)
		}
		if err != nil {
			return task.PruneReply{}, err
		}
	}
	if !req.KeepOthers && req.After != expired {
		if done, err = s.pruneOthers(ctx, req, clock); err != nil {
			return task.PruneReply{}, err
		}
	}
	if done.Next == "" {
		own, err := s.pruneExpired(ctx, clock, req.Max-done.Tasks)
		if err != nil {
			return task.PruneReply{}, err
		}
		if done.Tasks += own; done.Tasks >= req.Max && done.Tasks > 0 {
			done.Next = expired
		}
	}
	return done, nil
}

// expired is the position of a pruning that has removed all tasks without a retention of their own.
const expired = "expired"

// keysStep bounds the keys that one statement removes.
const keysStep = 1000

// pruneKeys removes the keys whose time is over.
func (s *Store) pruneKeys(ctx context.Context, clock time.Time) error {
	for n := int64(keysStep); n == keysStep; {
		err := s.again(ctx, func(ctx context.Context) error {
			tag, err := s.pool.Exec(ctx, s.q.PruneKeys, clock, int64(keysStep))
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneExpired removes tasks whose own retention is over.
func (s *Store) pruneExpired(ctx context.Context, clock time.Time, most int) (n int, err error) {
	if most <= 0 {
		return 0, nil
	}
	err = s.once(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.q.PruneExpired, clock, int64(most)).Scan(&n)
	})
	return n, err
}

// pruneOthers removes tasks that have no retention of their own.
func (s *Store) pruneOthers(ctx context.Context, req task.PruneRequest, clock time.Time) (done task.PruneReply, err error) {
	from, id, err := parsePosition(req.After)
	if err != nil {
		return done, err
	}
	err = s.once(ctx, func(ctx context.Context) error {
		done = task.PruneReply{}
		var (
			looked int
			ended  time.Time
			last   [16]byte
		)
		err := s.pool.QueryRow(ctx, s.q.Prune, clock, req.Age.Microseconds(), from, id, int64(max(req.Max, 0))).Scan(&done.Tasks, &looked, &ended, &last)
		if noRows(err) {
			return nil
		}
		if looked == req.Max {
			done.Next = formatPosition(ended, last)
		}
		return err
	})
	return done, err
}

// noClock is a clock that is always ahead of the server's, which therefore counts.
var noClock = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// maxGone is how many workers that are gone are remembered where tasks are kept for ever.
const maxGone = 10_000

// tidy removes what belongs to no task: sets of schedules that are empty, and workers that have
// been gone for as long as ended tasks are kept. If these are kept for ever, the names of workers
// are kept for their histories, but no more than maxGone.
func (s *Store) tidy(ctx context.Context, req task.PruneRequest, clock time.Time) error {
	return s.again(ctx, func(ctx context.Context) error {
		var batch pgx.Batch
		if req.KeepOthers {
			batch.Queue(s.q.RemoveForgottenWorkers, int64(maxGone))
		} else {
			batch.Queue(s.q.RemoveGoneWorkers, clock, req.Age.Microseconds())
		}
		batch.Queue(s.q.RemoveEmptySets, clock, storekit.EmptySetKept.Microseconds())
		return s.pool.SendBatch(ctx, &batch).Close()
	})
}

// A position is where a pruning stopped: the time of an end, in microseconds, and the id of the
// task.
func formatPosition(ended time.Time, id [16]byte) string {
	return strconv.FormatInt(ended.UnixMicro(), 10) + "-" + hex.EncodeToString(id[:])
}

func parsePosition(text string) (ended time.Time, id [16]byte, err error) {
	if text == "" {
		return time.UnixMicro(0), id, nil
	}
	micros, digits, _ := strings.Cut(text, "-")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err == nil {
		var b []byte
		if b, err = hex.DecodeString(digits); err == nil && len(b) == len(id) {
			return time.UnixMicro(n), [16]byte(b), nil
		}
	}
	return ended, id, fmt.Errorf("%w: %.60q is no position of a pruning: use what the last call returned, or begin again", task.ErrInvalid, text)
}

// createdOf returns when a task was created that no longer exists, and behind which a listing goes
// on: the time in its id.
func createdOf(id string) (time.Time, error) {
	t, ok := storekit.TimeOf(id)
	if !ok {
		return t, fmt.Errorf("%w: the task %s, after which the listing goes on, is gone: start the listing again", task.ErrNotFound, id)
	}
	return t, nil
}
