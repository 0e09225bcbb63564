package sqlitestore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

// Reclaim implements task.Store. If it acts on evidence it holds the dead worker's lock until its
// transaction has committed. The lock file is removed with the worker's row.
func (s *Store) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	if err := s.usable(ctx); err != nil {
		return task.ReclaimReply{}, err
	}
	seize := s.locks.seize
	if req.Evidence {
		seize = s.locks.seizeSoon
	}
	seized := seize(req.Worker)
	defer seized.release()
	var left task.ReclaimReply
	err := s.inTx(ctx, func(t *txn) (err error) {
		left, err = t.markDead(req, seized)
		if err != nil || left.Done {
			return err
		}
		left.Tasks, err = runningTasks(t, nil, "RunningTasksHeldBy", req.Worker, req.Max)
		if err != nil || len(left.Tasks) > 0 {
			return err
		}
		left.Done = true
		_, err = t.exec("RemoveWorker", req.Worker)
		return err
	})
	if err != nil {
		return task.ReclaimReply{}, err
	}
	if left.Done {
		seized.remove()
	}
	return left, nil
}

// markDead marks a worker dead, unless it is marked already, if the evidence or the lease of the
// request justifies that.
func (t *txn) markDead(req task.ReclaimRequest, seized *seizure) (task.ReclaimReply, error) {
	var (
		left task.ReclaimReply
		seq  uint64
		boot string
		dead bool
	)
	err := one(context.Background(), t, "WorkerToReclaim", []any{req.Worker}, &seq, &left.State, &boot, &dead, &left.Evidence, &left.Suspects, &left.Split)
	if errors.Is(err, sql.ErrNoRows) {
		left.Done = true
		return left, nil
	}
	if err != nil || dead {
		return left, err
	}
	if req.Evidence && !seized.proves(boot) || !req.Evidence && seq != req.Seq {
		return left, task.ErrWorkerAlive
	}
	left.Evidence = req.Evidence
	err = one(context.Background(), t, "MarkDead", []any{req.Worker, req.Evidence}, &left.Suspects, &left.Split)
	return left, err
}
