package sqlitestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
		}
		some, err := s.candidates(ctx, t, req)
		if err != nil || len(some) == 0 {
			return err
		}
		got, err = s.lease(ctx, t, some, worker, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	if due {
		s.claimable() // not all of them need be of this worker's kinds
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
	if _, err := t.exec(`insert into ready (lane, suspect, rank, fresh, run_at, id)
		select lane, suspect, rank, fresh, run_at, id from delayed where (run_at, id) in (`+due+`)`, now); err != nil {
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

// leaseSQL makes leases of the tasks of a list: id, attempts, crashes, interruptions, suspect.
const leaseSQL = `
insert into leases (task, run, worker, lane, runs, started, suspect, max_attempts, max_crashes, max_interruptions)
select t.id, max(t.run + 1, ?), ?, t.lane, t.runs + 1, ?, j.value ->> 4, j.value ->> 1, j.value ->> 2, j.value ->> 3
from json_each(?) j cross join tasks t on t.id = j.value ->> 0`

// lease moves tasks from ready to leases: one statement for all of them each time.
func (s *Store) lease(ctx context.Context, t *txn, some []candidate, worker int64, now time.Time) ([]task.Task, error) {
	list := make([][5]any, len(some))
	keys := make([][6]any, len(some))
	place := make(map[string]int, len(some))
	for i, c := range some {
		list[i] = [5]any{c.id, c.kind.Caps.MaxAttempts, c.kind.Caps.MaxCrashes, c.kind.Caps.MaxInterruptions, order(c.suspect)}
		keys[i] = [6]any{c.lane, order(c.suspect), c.rank, order(c.fresh), c.runAt, c.id}
		place[c.id] = i
	}
	leased, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	dropped, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec(leaseSQL, now.UnixMilli(), worker, now.UnixMicro(), string(leased)); err != nil {
		return nil, err
	}
	if _, err := t.exec(`delete from ready where (lane, suspect, rank, fresh, run_at, id) in (
		select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 from json_each(?))`, string(dropped)); err != nil {
		return nil, err
	}
	got, err := s.tasks(ctx, t, `where t.id in (select value ->> 0 from json_each(?))`, string(leased))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(got, func(a, b task.Task) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return got, nil
}
