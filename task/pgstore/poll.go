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
	// promoteRounds bounds the statements of one poll. Other polls go on.
	promoteRounds = 10
)

// poll finds the routes that have something to claim, and moves what has become due to ready. It
// returns what it found, and in how long the next delay runs out.
func (s *Store) poll(ctx context.Context, req task.ClaimRequest) (all []found, next time.Duration, err error) {
	for range promoteRounds {
		var registered bool
		if req.Interrupted {
			registered, all, next, err = s.ask(ctx, s.q.PollInterrupted, req, rangesOf(req))
		} else {
			registered, all, next, err = s.pollOnce(ctx, req)
		}
		if err == nil && !registered {
			err = task.ErrWorkerGone
		}
		if err != nil || next > 0 {
			return all, next, err
		}
		if err := s.promote(ctx); err != nil {
			return nil, 0, err
		}
	}
	return all, next, nil
}

// promote moves tasks whose time has come to ready.
func (s *Store) promote(ctx context.Context) error {
	err := s.once(ctx, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, s.q.Promote, int64(promoteMost))
		return err
	})
	if err == nil {
		s.claimable(everything) // some may be of kinds that other workers have
	}
	return err
}

// pollOnce runs the statement Poll, and records what it found.
func (s *Store) pollOnce(ctx context.Context, req task.ClaimRequest) (registered bool, all []found, next time.Duration, err error) {
	pieces, full := s.scan.pieces(req)
	began := time.Now()
	registered, all, next, err = s.ask(ctx, s.q.Poll, req, pieces)
	if err == nil {
		s.scan.polledAll(pieces, all, full, time.Since(began))
	}
	return registered, all, next, err
}

// ask runs a statement that polls, and has the neighbours looked at if one of them may be gone.
func (s *Store) ask(ctx context.Context, statement string, req task.ClaimRequest, pieces []piece) (registered bool, all []found, next time.Duration, err error) {
	var (
		neighbourGone  bool
		checkNeighbour = s.idle.checksNeighbours()
		args           = append([]any{workerKey(req.Worker), idleFor.Microseconds(), checkNeighbour}, pieceArgs(pieces)...)
	)
	err = s.again(ctx, func(ctx context.Context) error {
		all = all[:0]
		rows, err := s.pool.Query(ctx, statement, append(slices.Clip(args), req.Suspects > 0 && req.Suspicion == 0, groupArg(req))...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if rows.RawValues()[0] != nil {
				var micros int64
				if err := rows.Scan(&registered, &micros, &neighbourGone, nil, nil, nil, nil, nil, nil, nil); err != nil {
					return err
				}
				next = time.Duration(micros) * time.Microsecond
				continue
			}
			var f found
			if err := rows.Scan(nil, nil, nil, &f.number, &f.kind, &f.queue, &f.first.sortPriority, &f.first.queued, &f.first.runAt, &f.first.id); err != nil {
				return err
			}
			all = append(all, f)
		}
		return rows.Err()
	})
	if err != nil {
		return false, nil, 0, err
	}
	if neighbourGone {
		s.signals.Wake(0, 0, 1)
	}
	return registered, all, next, nil
}

// pieceArgs are the columns of pieces: the first and the last route, and the position at which the
// first one begins. The other routes of a piece are read from their front.
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
func noRows(err error) bool { return err == pgx.ErrNoRows } //nolint:errorlint // Scan returns it as it is
