package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Reclaim implements task.Store. Its statements go to the server together and are one transaction,
// so a process that is stopped during the call holds up no other. The first statement waits for
// claims of the worker that are in progress. From then on the worker can neither claim nor beat.
func (s *Store) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	var left task.ReclaimReply
	err := s.again(ctx, func(ctx context.Context) (err error) {
		left, err = s.reclaim(ctx, req)
		return err
	})
	if err != nil {
		return task.ReclaimReply{}, err
	}
	return left, nil
}

func (s *Store) reclaim(ctx context.Context, req task.ReclaimRequest) (left task.ReclaimReply, err error) {
	var (
		batch     pgx.Batch
		worker    = workerKey(req.Worker)
		found     = true
		dead      bool
		seq       = req.Seq
		confirmed bool
	)
	// The beat at which the detector found the worker dead; MarkDead checks that it has not moved.
	if req.Evidence {
		seq, confirmed = s.detector.confirmed(req.Worker)
	}
	batch.Queue(s.q.LockWorker, worker)
	batch.Queue(s.q.MarkDead, worker, req.Evidence, int64(seq), confirmed)
	batch.Queue(s.q.MarkedDead, worker).QueryRow(func(row pgx.Row) error {
		var split *[16]byte
		err := row.Scan(&dead, &left.Evidence, &left.Suspects, &split, &left.State)
		if split != nil {
			left.Split = storekit.FormatID(*split)
		}
		if noRows(err) {
			found = false
			return nil
		}
		return err
	})
	batch.Queue(picked(s.q.PickHeld, s.q.ReadPicked), worker, int64(max(req.Max, 0))).Query(func(rows pgx.Rows) (err error) {
		left.Tasks, err = collectTasks(rows, false)
		return err
	})
	batch.Queue(s.q.RemoveDeadWorker, worker).Exec(func(tag pgconn.CommandTag) error {
		left.Done = tag.RowsAffected() == 1
		return nil
	})
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return task.ReclaimReply{}, err
	}
	switch {
	case !found:
		return task.ReclaimReply{Done: true}, nil
	case !dead:
		return task.ReclaimReply{}, task.ErrWorkerAlive
	}
	return left, nil
}
