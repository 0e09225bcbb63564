package pgstore

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

const (
	// promoteMost bounds the tasks that one statement moves from delayed to ready.
	promoteMost = 5000
	// promoteRounds bounds the rounds of one poll. Later polls do the rest.
	promoteRounds = 10
)

// poll finds the routes that have something to claim, moves tasks that have become due to ready,
// and ends tasks that have expired. While there is something to claim it ends only a part of the
// expired tasks. It returns the routes, and the time until the next delay runs out or the next task
// expires.
func (s *Store) poll(ctx context.Context, req task.ClaimRequest) (all []found, next time.Duration, err error) {
	for range promoteRounds {
		var p polled
		if req.Interrupted {
			p, err = s.ask(ctx, s.q.PollInterrupted, req, rangesOf(req))
		} else {
			p, err = s.pollOnce(ctx, req)
		}
		all, next = p.all, p.next
		if err == nil && !p.registered {
			err = task.ErrWorkerGone
		}
		if err != nil || next > 0 {
			return all, next, err
		}
		if p.expired {
			if _, err := s.expire(ctx); err != nil {
				return nil, 0, err
			}
		}
		moved, err := s.promote(ctx)
		if err != nil {
			return nil, 0, err
		}
		if moved == 0 && len(all) > 0 {
			return all, 0, nil
		}
	}
	return all, next, nil
}

// polled is what a poll has found.
type polled struct {
	registered bool // the worker may claim
	expired    bool // there are expired tasks to end
	all        []found
	next       time.Duration // until the next delay runs out or the next task expires
}

// promote moves tasks whose time has come to ready, and returns how many.
func (s *Store) promote(ctx context.Context) (moved int64, err error) {
	err = s.once(ctx, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, s.q.Promote, int64(promoteMost))
		moved = tag.RowsAffected()
		return err
	})
	if err == nil && moved > 0 {
		s.claimable(everything) // other workers may serve the kinds of some of them
	}
	return moved, err
}

// pollOnce runs the statement Poll, and records what it found.
func (s *Store) pollOnce(ctx context.Context, req task.ClaimRequest) (p polled, err error) {
	pieces, full := s.scan.pieces(req)
	began := time.Now()
	p, err = s.ask(ctx, s.q.Poll, req, pieces)
	if err == nil {
		s.scan.polledAll(pieces, p, full, time.Since(began))
	}
	return p, err
}

// ask runs a statement that polls. If the poll finds that the session of another worker may be
// gone, ask has the workers checked.
func (s *Store) ask(ctx context.Context, statement string, req task.ClaimRequest, pieces []piece) (p polled, err error) {
	var (
		neighbourGone  bool
		checkNeighbour = s.idle.checksNeighbours()
		args           = append([]any{workerKey(req.Worker), idleFor.Microseconds(), checkNeighbour}, pieceArgs(pieces)...)
	)
	err = s.again(ctx, func(ctx context.Context) error {
		p = polled{}
		rows, err := s.pool.Query(ctx, statement, append(slices.Clip(args), req.Suspects > 0 && req.Suspicion == 0, groupArg(req))...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if rows.RawValues()[0] != nil {
				var micros int64
				if err := rows.Scan(&p.registered, &micros, &neighbourGone, nil, nil, nil, nil, &p.expired, nil, nil); err != nil {
					return err
				}
				p.next = time.Duration(micros) * time.Microsecond
				continue
			}
			var f found
			if err := rows.Scan(nil, nil, nil, &f.number, &f.kind, &f.queue, &f.first.sortPriority, &f.first.queued, &f.first.runAt, &f.first.id); err != nil {
				return err
			}
			p.all = append(p.all, f)
		}
		return rows.Err()
	})
	if err != nil {
		return polled{}, err
	}
	if !p.expired {
		s.expiry.looked()
	}
	if neighbourGone {
		s.signals.Wake(0, 0, 1)
	}
	return p, nil
}

// pieceArgs returns the columns of pieces: the first and the last route, and the position at which
// reading of the first route begins. The other routes of a piece are read from their front.
func pieceArgs(pieces []piece) []any {
	n := len(pieces)
	first, last, priorities := make([]int64, n), make([]int64, n), make([]int32, n)
	queued, runAts, ids := make([]bool, n), make([]time.Time, n), make([][16]byte, n)
	for i, p := range pieces {
		first[i], last[i] = p.first, p.last
		priorities[i], queued[i], runAts[i], ids[i] = p.from.sortPriority, p.from.queued, p.from.runAt, p.from.id
	}
	return []any{first, last, priorities, queued, runAts, ids}
}

// noRows reports whether a query returned no row.
func noRows(err error) bool { return err == pgx.ErrNoRows } //nolint:errorlint // Scan returns it unwrapped
