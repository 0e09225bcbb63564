package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

// The statements of Reclaim go to the server together and are one transaction, so that a process
// that is stopped in the middle holds up nobody. The first waits for the claims of the worker that
// are under way; from then on it can claim and renew no more. The worker's lock, if it is free, is
// held until the end, so that the worker cannot come back meanwhile.
const (
	lockRowSQL = `select 1 from @.workers where id = $1 for update`
	markedSQL  = `select dead, evidence, suspects, state from @.workers where id = $1`
	forgetSQL  = `delete from @.workers w where id = $1 and dead and not exists (select 1 from @.claims where worker = w.n)`
)

var markDeadSQL = `update @.workers w set dead = true, evidence = $2,
	suspects = exists (select 1 from @.running r where r.worker = w.n and r.suspect) where id = $1 and not dead and
	case when not $2 then seq = $3
		when state = 'left' then true
		when not $4 or seq <> $3 or boot is distinct from pg_postmaster_start_time() then false
		else pg_try_advisory_xact_lock(` + lockKey("id") + `) end`

// Reclaim implements task.Store.
func (s *Store) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.Reclaimed, error) {
	var left task.Reclaimed
	err := s.once(ctx, func(ctx context.Context) error {
		left = task.Reclaimed{}
		var (
			batch pgx.Batch
			found = true
			dead  bool
			lanes []int32
		)
		seq, confirmed := req.Seq, false
		if req.Evidence { // the beat has stood still since the lock was seen free
			seq, confirmed = s.detector.confirmed(req.Worker)
		}
		batch.Queue(s.q.lockRow, req.Worker)
		batch.Queue(s.q.markDead, req.Worker, req.Evidence, int64(seq), confirmed)
		batch.Queue(s.q.marked, req.Worker).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&dead, &left.Evidence, &left.Suspects, &left.State)
			if errors.Is(err, pgx.ErrNoRows) {
				found = false
				return nil
			}
			return err
		})
		batch.Queue(s.q.held, req.Worker, max(req.Max, 0)).Query(func(rows pgx.Rows) (err error) {
			left.Tasks, lanes, err = collectTasks(rows)
			return err
		})
		batch.Queue(s.q.sweep, req.Worker)
		batch.Queue(s.q.forget, req.Worker).Exec(func(tag pgconn.CommandTag) error {
			left.Done = tag.RowsAffected() == 1
			return nil
		})
		if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		if err := s.nameLanes(ctx, left.Tasks, lanes); err != nil {
			return err
		}
		switch {
		case !found:
			left = task.Reclaimed{Done: true}
		case !dead:
			return task.ErrWorkerAlive
		}
		return nil
	})
	if err != nil {
		return task.Reclaimed{}, err
	}
	return left, nil
}
