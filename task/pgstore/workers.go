package pgstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// epochs are the current epochs of this process's workers.
type epochs struct {
	mu sync.Mutex
	by map[string]epoch
}

// epoch is the time since a worker's last complete beat, or since its first beat. A claim that was
// sent before a complete beat and arrives after it has an earlier number, and is refused. boot is
// the start of the server at that beat: a server that has started again since may have lost its
// last commits.
type epoch struct {
	number int64
	boot   time.Time
}

func (e *epochs) of(worker string) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.by[worker].number
}

// raise begins a new epoch: all claims that have been sent before belong to an earlier one.
func (e *epochs) raise(worker string) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil {
		e.by = make(map[string]epoch)
	}
	x := e.by[worker]
	x.number++
	e.by[worker] = x
	return x.number
}

// begun records the start of the server at a worker's first beat, or at a complete one.
func (e *epochs) begun(worker string, boot time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil {
		e.by = make(map[string]epoch)
	}
	e.by[worker] = epoch{e.by[worker].number, boot}
}

// restarted reports whether the server has started again in this epoch of a worker. For an unknown
// worker, such as one that has stopped, it returns false.
func (e *epochs) restarted(worker string, boot time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.by[worker]
	return !x.boot.IsZero() && !x.boot.Equal(boot)
}

func (e *epochs) forget(worker string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.by, worker)
}

// Heartbeat implements task.Store. The first beat registers the worker, whose row then names this
// process's session.
func (s *Store) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	var reply task.BeatReply
	err := s.again(ctx, func(ctx context.Context) error {
		if b.Seq == 1 {
			if err := s.register(ctx, b); err != nil {
				return err
			}
		}
		var (
			boot *time.Time
			err  error
		)
		asked := b.Runs
		if b.ListsAllRuns {
			asked = nil // compareRuns compares them with all runs that the worker holds
		}
		if boot, reply, err = s.beat(ctx, b, asked); err != nil {
			return err
		}
		if boot == nil {
			s.forgetWorker(b.Worker)
			return task.ErrWorkerGone
		}
		if b.ListsAllRuns {
			if reply.Lost, reply.Missing, err = s.compareRuns(ctx, b); err != nil {
				return err
			}
		}
		if b.Seq == 1 || b.ListsAllRuns {
			s.epochs.begun(b.Worker, *boot)
		}
		reply.Restarted = s.epochs.restarted(b.Worker, *boot)
		if b.State == task.WorkerStopping {
			s.stopping()
		}
		if b.State != task.WorkerStopped {
			return nil
		}
		if err := s.removeStopped(ctx, b.Worker); err != nil {
			return err
		}
		s.forgetWorker(b.Worker)
		return nil
	})
	if err != nil {
		return task.BeatReply{}, err
	}
	return reply, nil
}

// register inserts the row of a worker, and has the row name the session.
func (s *Store) register(ctx context.Context, b task.Beat) error {
	_, err := s.pool.Exec(ctx, s.q.RegisterWorker, workerKey(b.Worker), b.Worker, b.Name, b.Host, clampInt32(b.PID), texts(b.Kinds), texts(b.Queues), clampInt32(b.Slots),
		b.Lease.Microseconds(), int64(b.Seq), string(b.State))
	if err == nil {
		s.session.register(ctx, b.Worker)
		s.prepareAhead()
		s.maintain()
	}
	return err
}

// texts returns a copy of a list that is never null.
func texts(list []string) []string { return append([]string{}, list...) }

// forgetWorker forgets a worker that has stopped, or that another process has declared dead.
func (s *Store) forgetWorker(worker string) {
	s.epochs.forget(worker)
	s.session.forget(worker)
}

// beatRow is a row of the answer of the statement Beat.
type beatRow struct {
	Lost    int32
	Task    *[16]byte
	Run     int64
	Command string
	Boot    *time.Time
}

// beat renews a worker. It returns the start of the server, or nil if the worker is not registered,
// and the commands and lost runs that the worker may not know. It uses the session, and not the
// pool.
func (s *Store) beat(ctx context.Context, b task.Beat, asked []task.Fence) (boot *time.Time, reply task.BeatReply, err error) {
	tasks, runs, workers := listed(asked)
	// The answer gets a variable of its own: fn may still write to it after ctx has ended.
	answer := new([]beatRow)
	err = s.session.exec(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, s.q.Beat, workerKey(b.Worker), int64(b.Seq), string(b.State), tasks, runs, workers, texts(b.Unresponsive), append([]task.PausedKind{}, b.Paused...))
		if err != nil {
			return err
		}
		*answer, err = pgx.CollectRows(rows, pgx.RowToStructByPos[beatRow])
		return err
	})
	if err != nil {
		return nil, reply, err
	}
	for _, row := range *answer {
		switch {
		case row.Lost > 0:
			reply.Lost = append(reply.Lost, asked[row.Lost-1])
		case row.Task == nil:
			boot = row.Boot
		default:
			f := task.Fence{Task: storekit.FormatID(*row.Task), Run: row.Run, Worker: b.Worker}
			reply.Commands = append(reply.Commands, task.PendingCommand{Fence: f, Verb: task.Verb(row.Command)})
		}
	}
	return boot, reply, nil
}

// listed returns some runs as columns. An invalid id becomes the nil UUID, which belongs to no
// task.
func listed(fences []task.Fence) (tasks [][16]byte, runs []int64, workers [][16]byte) {
	items := make([]item, len(fences))
	for i, f := range fences {
		items[i].Change = &task.Change{Fence: f}
		items[i].key, _ = storekit.ParseID(f.Task)
	}
	return fenceArgs(items)
}

// claimPatience bounds the wait for claims of a worker that are in progress, in milliseconds: beats
// wait behind a transaction that waits for them.
const claimPatience = "2000"

// compareRuns compares the runs that a complete beat lists with those that the worker holds. It
// returns those that are listed and not held (lost), and those that are held and not listed
// (unlisted). It first waits for claims that the server has begun, and has the server refuse those
// that it has not. So no claim that was sent before the beat can still take a task after it.
func (s *Store) compareRuns(ctx context.Context, b task.Beat) (lost []task.Fence, unlisted []task.Task, err error) {
	var (
		worker, epoch = workerKey(b.Worker), s.epochs.raise(b.Worker)
		ids           [][16]byte
		runs          []int64
		// One transaction, in which each statement sees what was committed before it.
		batch pgx.Batch
	)
	batch.Queue(`select pg_catalog.set_config('lock_timeout', $1, true)`, claimPatience)
	batch.Queue(s.q.LockWorker, worker)
	batch.Queue(s.q.RaiseEpoch, worker, epoch)
	batch.Queue(s.q.HeldRuns, worker).QueryRow(func(row pgx.Row) error { return row.Scan(&ids, &runs) })
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, nil, err
	}
	held := make(map[[16]byte]int64, len(ids))
	for i, id := range ids {
		held[id] = runs[i]
	}
	for _, f := range b.Runs {
		id, ok := storekit.ParseID(f.Task)
		if run, holds := held[id]; !ok || !holds || run != f.Run || f.Worker != b.Worker {
			lost = append(lost, f)
			continue
		}
		delete(held, id)
	}
	if len(held) == 0 {
		return lost, nil, nil
	}
	tasks, err := s.readTasks(ctx, &filter{args: []any{slices.Collect(maps.Keys(held))}}, "select pg_catalog.unnest($1::uuid[]) as id")
	// Some may have ended since.
	return lost, slices.DeleteFunc(tasks, func(t task.Task) bool { return t.Status != task.StatusRunning || t.Worker != b.Worker }), err
}

// removeStopped marks a worker that has stopped as gone, unless it still holds runs.
func (s *Store) removeStopped(ctx context.Context, worker string) error {
	// One transaction, in which the last statement sees the claims that were waited for.
	var batch pgx.Batch
	batch.Queue(`select pg_catalog.set_config('lock_timeout', $1, true)`, claimPatience)
	batch.Queue(s.q.LockWorker, workerKey(worker))
	batch.Queue(s.q.RemoveStoppedWorker, workerKey(worker))
	return s.pool.SendBatch(ctx, &batch).Close()
}

// Workers implements task.Store.
func (s *Store) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	var all []task.WorkerInfo
	err := s.again(ctx, func(ctx context.Context) error {
		all = nil
		var sessions []sessionReading
		asked := time.Now()
		rows, err := s.pool.Query(ctx, s.q.Workers)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (task.WorkerInfo, error) {
			var (
				w                   task.WorkerInfo
				lease, seq, confirm int64
				r                   sessionReading
			)
			err := row.Scan(&w.Worker, &w.Name, &w.Host, &w.PID, &w.Kinds, &w.Queues, &w.Slots, &lease, &seq, &w.State, &w.Unresponsive, &w.Paused, &w.Since,
				&w.Dead, &r.gone, &confirm)
			w.Lease, w.Seq = time.Duration(lease)*time.Microsecond, uint64(seq)
			r.confirm = time.Duration(confirm) * time.Microsecond
			sessions = append(sessions, r)
			return w, err
		})
		if err == nil {
			s.detector.assess(all, sessions, asked, s.session.lostFor())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
