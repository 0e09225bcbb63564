package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Heartbeat implements task.Store. It takes the worker's lock before it registers the worker, and
// releases it when the worker has stopped.
func (s *Store) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	boot := ""
	if b.Seq == 1 {
		if err := s.usable(ctx); err != nil {
			return task.BeatReply{}, err
		}
		var err error
		if boot, err = s.locks.take(b.Worker); err != nil {
			return task.BeatReply{}, s.wrap(ctx, err)
		}
	}
	var (
		reply   task.BeatReply
		removed bool
	)
	err := s.inTx(ctx, func(t *txn) (err error) {
		reply, removed, err = t.beat(b, boot, s.now())
		return err
	})
	switch {
	case err != nil && b.Seq == 1 && !errors.Is(err, task.ErrWorkerGone):
		s.locks.release(b.Worker, true)
	case err == nil && b.State == task.WorkerStopped:
		s.locks.release(b.Worker, removed)
	case errors.Is(err, task.ErrWorkerGone):
		s.locks.release(b.Worker, true)
	case err == nil && b.State == task.WorkerStopping:
		s.signals.Wake(0, 0, 1)
		s.locks.notifyOf(stopFile)
	}
	return reply, err
}

// beat records a beat. removed reports that the worker has stopped, and is no longer registered.
func (t *txn) beat(b task.Beat, boot string, now time.Time) (reply task.BeatReply, removed bool, err error) {
	if b.Seq == 1 {
		kinds, err := list(b.Kinds)
		if err != nil {
			return reply, false, err
		}
		queues, err := list(b.Queues)
		if err != nil {
			return reply, false, err
		}
		if _, err := t.exec("Register", b.Worker, b.Name, b.Host, b.PID, kinds, queues, b.Slots, b.Lease.Microseconds(), b.Seq, string(b.State),
			now.UnixMicro(), boot); err != nil {
			return reply, false, err
		}
	}
	if _, err := claiming(context.Background(), t, b.Worker); err != nil {
		return reply, false, err // a worker that was marked dead must not come back either
	}
	unresponsive, err := list(b.Unresponsive)
	if err != nil {
		return reply, false, err
	}
	paused, err := list(b.Paused)
	if err != nil {
		return reply, false, err
	}
	if _, err := t.exec("Renew", b.Worker, b.Seq, string(b.State), unresponsive, paused); err != nil {
		return reply, false, err
	}
	if reply, err = t.reply(b); err != nil || b.State != task.WorkerStopped {
		return reply, false, err
	}
	n, err := t.exec("RemoveIdleWorker", b.Worker)
	return reply, n == 1, err
}

// reply returns what the worker may not know: lost runs, commands, and missing runs.
func (t *txn) reply(b task.Beat) (reply task.BeatReply, err error) {
	listed, fences := make([][2]any, len(b.Runs)), make([][3]any, len(b.Runs))
	for i, f := range b.Runs {
		listed[i], fences[i] = [2]any{f.Task, f.Run}, [3]any{f.Task, f.Run, f.Worker}
	}
	arg, err := list(fences)
	if err != nil {
		return reply, err
	}
	ctx := context.Background()
	err = each(ctx, t, "LostRuns", []any{arg}, func(rows *sql.Rows) error {
		place := 0
		err := rows.Scan(&place)
		reply.Lost = append(reply.Lost, b.Runs[place])
		return err
	})
	if err != nil {
		return reply, err
	}
	err = each(ctx, t, "Commands", []any{b.Worker}, func(rows *sql.Rows) error {
		a := task.PendingCommand{Fence: task.Fence{Worker: b.Worker}}
		err := rows.Scan(&a.Task, &a.Run, &a.Verb)
		reply.Commands = append(reply.Commands, a)
		return err
	})
	if err != nil || !b.ListsAllRuns {
		return reply, err
	}
	if arg, err = list(listed); err == nil {
		reply.Missing, err = runningTasks(t, nil, "RunningTasksNotListed", b.Worker, arg)
	}
	return reply, err
}

// InheritLock returns another descriptor for the lock of a worker of this process, to be passed to
// a child process that works for it. The lock is held until the last descriptor is closed. So while
// such a child lives, there is no evidence that the worker is dead, though its lease may run out.
// Only a process to which the file is passed inherits it. The caller closes the file.
//
// ErrWorkerGone means that this process holds no lock of that worker; errors.ErrUnsupported means
// that files cannot be locked on this system.
func (s *Store) InheritLock(worker string) (*os.File, error) { return s.locks.share(worker) }

// Workers implements task.Store.
func (s *Store) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var (
		all   []task.WorkerInfo
		boots []string
	)
	err := each(ctx, s.reader, "Workers", nil, func(rows *sql.Rows) error {
		var (
			w                                   task.WorkerInfo
			kinds, queues, silent, paused, boot string
			lease, since                        int64
		)
		err := rows.Scan(&w.Worker, &w.Name, &w.Host, &w.PID, &kinds, &queues, &w.Slots, &lease, &w.Seq, &w.State, &silent, &paused, &since, &boot, &w.Dead)
		if err != nil {
			return err
		}
		w.Lease, w.Since = time.Duration(lease)*time.Microsecond, at(since)
		err = errors.Join(json.Unmarshal([]byte(kinds), &w.Kinds), json.Unmarshal([]byte(queues), &w.Queues),
			json.Unmarshal([]byte(silent), &w.Unresponsive), json.Unmarshal([]byte(paused), &w.Paused))
		all, boots = append(all, w), append(boots, boot)
		return err
	})
	if err != nil {
		return nil, s.wrap(ctx, err)
	}
	for i := range all {
		all[i].Liveness = s.locks.life(all[i].Worker, boots[i])
	}
	return all, nil
}

// sweepLocks removes lock files whose worker is not registered and whose lock is free. A process
// that died before it registered its worker leaves such a file.
func (s *Store) sweepLocks(ctx context.Context) {
	for _, worker := range s.locks.names() {
		s.sweepLock(ctx, worker)
	}
}

// sweepLock removes the lock file of one worker under these conditions.
func (s *Store) sweepLock(ctx context.Context, worker string) {
	seized := s.locks.seize(worker)
	defer seized.release()
	if !seized.held() {
		return
	}
	registered := true
	if err := one(ctx, s.reader, "IsRegistered", []any{worker}, &registered); err == nil && !registered {
		seized.remove()
	}
}
