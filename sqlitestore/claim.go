package sqlitestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// candidate is a row of ready that a claim may take.
type candidate struct {
	waiting
	kind task.KindClaim
}

// Claim implements task.Store. It looks without a transaction first: an idle worker writes nothing.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	some, due, err := s.look(ctx, req, s.now())
	if err != nil {
		return nil, s.wrap(ctx, err)
	}
	if !some && !due {
		_, err := registered(ctx, s.read, req.Worker)
		return nil, s.wrap(ctx, err)
	}
	var got []task.Task
	err = s.inTx(ctx, func(t *txn) error {
		// Now, and not when the claim began to wait for its turn: a run that ends in between would
		// have ended after the next one's begin.
		now := s.now()
		worker, err := registered(ctx, t, req.Worker)
		if err != nil {
			return err
		}
		if due {
			if err := promote(t, now.UnixMicro()); err != nil {
				return err
			}
			t.news = true // not all of them need be of this worker's kinds
		}
		some, err := s.candidates(ctx, t, req)
		if err != nil || len(some) == 0 {
			return err
		}
		got, err = s.lease(ctx, t, some, worker, now, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// look says, without a transaction, whether there is something to claim, and whether a delay has
// run out.
func (s *Store) look(ctx context.Context, req task.ClaimRequest, now time.Time) (some, due bool, err error) {
	one := req
	one.Max = min(req.Max, 1)
	found, err := s.candidates(ctx, s.read, one)
	if err != nil {
		return false, false, err
	}
	err = s.read.QueryRowContext(ctx, `select exists (select 1 from delayed where run_at <= ?)`, now.UnixMicro()).Scan(&due)
	return len(found) > 0, due, err
}

// promote moves tasks whose time has come to those that can be claimed.
func promote(t *txn, now int64) error {
	const due = `select run_at, id from delayed where run_at <= ? order by run_at, id limit 1000`
	if _, err := t.exec(`insert into ready (lane, suspect, rank, fresh, run_at, id, run, runs)
		select lane, suspect, rank, fresh, run_at, id, run, runs from delayed where (run_at, id) in (`+due+`)`, now); err != nil {
		return err
	}
	_, err := t.exec(`delete from delayed where (run_at, id) in (`+due+`)`, now)
	return err
}

// registered returns a worker's number, or ErrWorkerGone unless the worker may claim.
func registered(ctx context.Context, q queryer, worker string) (n int64, err error) {
	err = q.QueryRowContext(ctx, `select n from workers where id = ? and dead = 0`, worker).Scan(&n)
	if noRows(err) {
		return 0, task.ErrWorkerGone
	}
	return n, err
}

// candidates are the rows that a claim takes, in its order: the best of each lane, merged.
func (s *Store) candidates(ctx context.Context, q queryer, req task.ClaimRequest) ([]candidate, error) {
	open, err := s.openLanes(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, k := range req.Kinds {
		most := min(k.Max, req.Max)
		for l, n := range open {
			if most <= 0 || l.kind != k.Kind || len(req.Queues) > 0 && !slices.Contains(req.Queues, l.queue) {
				continue
			}
			if all, err = best(ctx, q, all, n, k, false, most+len(req.Except)); err != nil {
				return nil, err
			}
			if req.Suspect {
				if all, err = best(ctx, q, all, n, k, true, 1+len(req.Except)); err != nil {
					return nil, err
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(order(a.fresh), order(b.fresh)),
			cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.id, b.id))
	})
	return cut(all, req), nil
}

// order puts false first.
func order(b bool) int {
	if b {
		return 1
	}
	return 0
}

// cut keeps what a claim may take: so many of each kind and in all, and one suspect.
func cut(all []candidate, req task.ClaimRequest) []candidate {
	taken := make(map[string]int)
	suspects := 0
	kept := all[:0]
	for _, c := range all {
		if len(kept) >= req.Max || taken[c.kind.Kind] >= c.kind.Max || c.suspect && suspects > 0 || slices.Contains(req.Except, c.id) {
			continue
		}
		taken[c.kind.Kind]++
		if c.suspect {
			suspects++
		}
		kept = append(kept, c)
	}
	return kept
}

func best(ctx context.Context, q queryer, all []candidate, lane int64, k task.KindClaim, suspect bool, limit int) (_ []candidate, err error) {
	rows, err := q.QueryContext(ctx, `select rank, fresh, run_at, id from ready
		where lane = ? and suspect = ? order by rank, fresh, run_at, id limit ?`, lane, suspect, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c := candidate{kind: k, waiting: waiting{lane: lane, suspect: suspect}}
		if err := rows.Scan(&c.rank, &c.fresh, &c.runAt, &c.id); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// taken is a part of a lane, from its front to the last task that is claimed. What a claim takes of a
// lane is such a part, but for those that it was told to leave.
type taken struct {
	candidate
	n int
}

const takenSQL = ` from ready where lane = ?1 and suspect = ?2 and (rank, fresh, run_at, id) <= (?3, ?4, ?5, ?6)
	and id not in (select value from json_each(?7))`

const (
	leaseSQL = `insert into leases (task, run, worker, lane, runs, started, suspect, max_attempts, max_crashes, max_interruptions)
		select id, max(run + 1, ?8), ?9, lane, runs + 1, ?10, suspect, ?11, ?12, ?13` + takenSQL
	unreadySQL = `delete` + takenSQL
)

// lease moves tasks from ready to leases, and returns them in the order of the claim.
func (s *Store) lease(ctx context.Context, t *txn, some []candidate, worker int64, now time.Time, req task.ClaimRequest) ([]task.Task, error) {
	type part struct {
		lane    int64
		suspect bool
	}
	parts := make(map[part]taken)
	place := make(map[string]int, len(some))
	for i, c := range some {
		p := part{c.lane, c.suspect}
		parts[p] = taken{c, parts[p].n + 1}
		place[c.id] = i
	}
	left, err := json.Marshal(append([]string{}, req.Except...))
	if err != nil {
		return nil, err
	}
	got := slices.Grow(req.Into[:0], len(some))
	for _, p := range parts {
		args := []any{p.lane, order(p.suspect), p.rank, order(p.fresh), p.runAt, p.id, string(left)}
		caps := p.kind.Caps
		n, err := t.exec(leaseSQL, append(args, now.UnixMilli(), worker, now.UnixMicro(), caps.MaxAttempts, caps.MaxCrashes, caps.MaxInterruptions)...)
		if err != nil {
			return nil, err
		}
		if int(n) != p.n {
			return nil, fmt.Errorf("a claim took %d tasks of lane %d instead of %d: was the database changed by hand?", n, p.lane, p.n)
		}
		leased, err := s.tasks(ctx, t, `where t.id in (select id`+takenSQL+`)`, args...)
		if err != nil {
			return nil, err
		}
		if _, err := t.exec(unreadySQL, args...); err != nil {
			return nil, err
		}
		got = append(got, leased...)
	}
	slices.SortFunc(got, func(a, b task.Task) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return got, nil
}
