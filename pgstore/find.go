package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// taskColumns and scanTask belong together. A task runs that is in a claim whose number its row does not
// have yet, whatever else the row says.
const taskColumns = `t.id, t.lane, t.key, t.payload, t.priority, case when l.task is null then t.status else 'running' end,
	t.reason, t.error, t.created, coalesce(l.started, t.since), t.run_at, coalesce(l.started, t.started),
	coalesce(l.run, t.run), case when l.run is null then t.runs else t.runs + 1 end, coalesce(i.id, ''),
	t.attempts, t.interruptions, t.crashes, t.crash_streak, t.interrupt_streak,
	coalesce(l.max_attempts, t.max_attempts), coalesce(l.max_crashes, t.max_crashes), coalesce(l.max_interruptions, t.max_interruptions),
	t.checkpoint, t.fraction, t.message, t.result`

const (
	// Who is in a claim is read once, and not once for each task.
	findSQL     = `with l as materialized (select * from @.members) ` + besideSQL
	findSomeSQL = `with l as materialized (select * from @.members where task = any ($1)) ` + besideSQL
	besideSQL   = `select ` + taskColumns + ` from @.records t left join l on l.task = t.id and l.run > t.run
		left join @.incarnations i on i.n = coalesce(l.worker, t.worker)`
	findRunningSQL = `select ` + taskColumns + ` from @.running l cross join lateral (select * from @.records t where t.id = l.task offset 0) t
		join @.incarnations i on i.n = l.worker`
	heldSQL     = findRunningSQL + ` where i.id = $1 and exists (select 1 from @.workers where id = $1 and dead) limit $2`
	unlistedSQL = findRunningSQL + `
		where i.id = $1 and not exists (select 1 from unnest($2::uuid[], $3::bigint[]) as f(task, run) where f.task = l.task and f.run = l.run)
		order by l.task`
	historySQL = `
	select r.run, i.id, i.host, i.pid, r.started, r.ended, r.status, r.reason, r.error, r.crashed, r.taken
	from (
		select run, worker, started, ended, status, reason, error, crashed, taken from @.runs where task = $1
		union all
		select run, worker, started, since, status, reason, error, crashed, taken from @.records t where id = $1 and runs > 0
			and not exists (select 1 from @.runs r where r.task = t.id and r.run = t.run)
		union all
		select m.run, m.worker, m.started, null, 'running', '', '', false, false
			from @.running m where m.task = $1
		union all
		select null, 0, null, null, '', '', '', false, false from @.tasks where id = $1
	) r left join @.incarnations i on i.n = r.worker
	order by r.run nulls last`
)

func scanTask(row pgx.Row) (t task.Task, id [16]byte, lane int32, err error) {
	var started *time.Time
	err = row.Scan(&id, &lane, &t.Key, &t.Payload, &t.Priority, &t.Status, &t.Reason, &t.Error,
		&t.Created, &t.Since, &t.RunAt, &started, &t.Run, &t.Runs, &t.Worker,
		&t.Attempts, &t.Interruptions, &t.Crashes, &t.CrashStreak, &t.InterruptStreak,
		&t.MaxAttempts, &t.MaxCrashes, &t.MaxInterruptions,
		&t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message, &t.Result)
	t.ID, t.Started = formatID(id), at(started)
	if t.Status.Ended() {
		t.Finished = t.Since
	}
	return t, id, lane, err
}

// collectTasks reads tasks, but for their lanes.
func collectTasks(rows pgx.Rows) (tasks []task.Task, lanes []int32, err error) {
	tasks, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (task.Task, error) {
		t, _, n, err := scanTask(row)
		lanes = append(lanes, n)
		return t, err
	})
	return tasks, lanes, err
}

// nameLanes fills in the tasks' kinds and queues.
func (s *Store) nameLanes(ctx context.Context, tasks []task.Task, lanes []int32) error {
	for i, n := range lanes {
		l, err := s.byNumber(ctx, n)
		if err != nil {
			return err
		}
		tasks[i].Kind, tasks[i].Queue = l.kind, l.queue
	}
	return nil
}

// Find implements task.Store.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	var found []task.Task
	err := s.call(ctx, func(ctx context.Context) error {
		sql, args, err := s.findStatement(q)
		if err != nil || sql == "" {
			return err
		}
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		var lanes []int32
		if found, lanes, err = collectTasks(rows); err != nil {
			return err
		}
		return s.nameLanes(ctx, found, lanes)
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// findStatement is empty when no task can be meant.
func (s *Store) findStatement(q task.Query) (sql string, args []any, err error) {
	base, where := s.q.find, []string{"true"}
	filter := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(cond, len(args)))
	}
	if len(q.IDs) > 0 {
		var keys [][16]byte
		for _, id := range q.IDs {
			if key, ok := parseID(id); ok {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			return "", nil, nil
		}
		base = s.q.findSome
		filter("t.id = any ($%d)", keys)
	}
	if q.After != "" {
		key, err := mustID(q.After)
		if err != nil {
			return "", nil, err
		}
		filter("t.id < $%d", key)
	}
	if q.Kind != "" {
		filter("t.lane in (select n from "+s.ident+".lanes where kind = $%d)", q.Kind)
	}
	if q.Queue != "" {
		filter("t.lane in (select n from "+s.ident+".lanes where queue = $%d)", q.Queue)
	}
	if q.Key != "" {
		filter("t.key = $%d", q.Key)
	}
	switch {
	case q.Status == task.Running:
		base = s.q.findRunning
	case q.Status != "":
		filter("t.status = $%d and l.task is null", string(q.Status))
	}
	args = append(args, cmp.Or(q.Limit, 100))
	return fmt.Sprintf("%s where %s order by t.id desc limit $%d", base, strings.Join(where, " and "), len(args)), args, nil
}

// History implements task.Store.
func (s *Store) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	var runs []task.RunRecord
	err := s.call(ctx, func(ctx context.Context) error {
		key, ok := parseID(id)
		if !ok {
			return task.ErrNotFound
		}
		rows, err := s.pool.Query(ctx, s.q.history, key)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, scanRun)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return task.ErrNotFound
		}
		runs = all[:len(all)-1] // the last row only says that the task exists
		return nil
	})
	if err != nil {
		return nil, err
	}
	return runs, nil
}

func scanRun(row pgx.CollectableRow) (task.RunRecord, error) {
	var (
		r              task.RunRecord
		run            *int64
		worker, host   *string
		pid            *int
		started, ended *time.Time
	)
	err := row.Scan(&run, &worker, &host, &pid, &started, &ended, &r.Status, &r.Reason, &r.Error, &r.Crashed, &r.Taken)
	if err != nil || run == nil {
		return r, err
	}
	if worker == nil || host == nil || pid == nil {
		return r, errors.New("a run's worker is not in the table incarnations: was it deleted by hand?")
	}
	r.Run, r.Worker, r.Host, r.PID, r.Started, r.Ended = *run, *worker, *host, *pid, at(started), at(ended)
	return r, nil
}
