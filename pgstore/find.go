package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// taskColumns and scanTask belong together. A task runs that is in a claim whose number its state does not
// have yet, whatever else the row says.
const taskColumns = `t.id, t.lane, t.key, t.payload, t.priority, case when l.task is null then t.status else 'running' end,
	t.reason, t.error, t.created, coalesce(l.started, t.since), t.run_at, coalesce(l.started, t.started),
	coalesce(l.run, t.run), case when l.run is null then t.runs else t.runs + 1 end, coalesce(i.id, ''),
	t.attempts, t.interruptions, t.crashes, t.crash_streak, t.interrupt_streak,
	coalesce(l.max_attempts, t.max_attempts), coalesce(l.max_crashes, t.max_crashes), coalesce(l.max_interruptions, t.max_interruptions),
	t.checkpoint, t.fraction, t.message, t.result`

// A listing picks ids first, from where the tasks of the wanted status stand, and then reads those tasks. Who runs is
// found in the claims, which are walked through once.
const (
	pickIDs = `with p as materialized (select t.id from `
	// The place of a task that waits is told by its narrow tables, and by the sheets.
	waitingTasks = `(
		select id, lane, fresh from @.ready
		union all select id, lane, fresh from @.delayed
		union all select m.task, i.lane, false from @.interruptions i, unnest(i.tasks) as m(task)
	) t`
	runningTasks = `(select task as id, lane, run, worker from @.running) t`
	thoseTasks   = `), l as materialized (
		select m.* from @.members m where m.task in (select id from p)
	)` + readTasks
	// theseFewTasks looks for each of them in each claim, without taking the claims apart.
	theseFewTasks = `), l as materialized (
		select p.id as task, c.run, c.worker, c.started, c.max_attempts, c.max_crashes, c.max_interruptions from p, @.claims c where p.id = any (c.tasks)
	)` + readTasks
	readTasks = `
	select ` + taskColumns + ` from p cross join lateral (select * from @.records t where t.id = p.id offset 0) t
		left join l on l.task = t.id and l.run > t.run
		left join @.incarnations i on i.n = coalesce(l.worker, t.worker) order by t.id desc`

	heldSQL = pickIDs + runningTasks + ` join @.workers w on w.n = t.worker where w.id = $1 and w.dead limit $2` + thoseTasks
	// unlistedSQL answers with the runs of a worker that are not listed.
	unlistedSQL = pickIDs + runningTasks + ` join @.incarnations i on i.n = t.worker where i.id = $1
		and not exists (select 1 from unnest($2::uuid[], $3::bigint[]) as f(task, run) where f.task = t.id and f.run = t.run)` + thoseTasks

	// runsSQL finds the run of one task.
	runsSQL = `select c.run, c.worker, c.started, c.apart from (select $1::uuid as task) o, @.claims c, @.tasks t left join @.states w on w.task = t.id
		where t.id = o.task and o.task = any (c.tasks) and c.run > coalesce(w.run, 0)
			and not exists (select 1 from @.successes s where s.claim = c.n and o.task = any (s.tasks))
			and not exists (select 1 from @.interruptions i where i.claim = c.n and o.task = any (i.tasks))`
	historySQL = `
	select r.run, i.id, i.host, i.pid, r.started, r.ended, r.status, r.reason, r.error, r.crashed, r.taken
	from (
		select run, worker, started, ended, status, reason, error, crashed, taken from @.runs where task = $1
		union all
		select run, worker, started, since, status, reason, error, crashed, taken from @.rows t where id = $1 and runs > 0
			and not exists (select 1 from @.runs r where r.task = t.id and r.run = t.run)
		union all
		select run, worker, started, since, status, reason, error, crashed, taken from @.records t where id = $1
			and run > (select run from @.rows w where w.id = $1)
		union all
		select m.run, m.worker, m.started, null, 'running', '', '', false, false from (` + runsSQL + `) m
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
	err := s.again(ctx, func(ctx context.Context) error {
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

// fewTasks is the number up to which looking for them one by one is the quicker way.
const fewTasks = 8

// findStatement is empty when no task can be meant.
func (s *Store) findStatement(q task.Query) (sql string, args []any, err error) {
	var where []string
	arg := func(a any) string {
		args = append(args, a)
		return fmt.Sprintf("$%d", len(args))
	}
	limit, read := arg(cmp.Or(q.Limit, 100)), thoseTasks
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
		where = append(where, "t.id = any ("+arg(keys)+")")
		if len(keys) <= fewTasks {
			read = theseFewTasks
		}
	}
	if q.After != "" {
		key, err := mustID(q.After)
		if err != nil {
			return "", nil, err
		}
		where = append(where, "t.id < "+arg(key))
	}
	if q.Kind != "" {
		where = append(where, "t.lane in (select n from @.lanes where kind = "+arg(q.Kind)+")")
	}
	if q.Queue != "" {
		where = append(where, "t.lane in (select n from @.lanes where queue = "+arg(q.Queue)+")")
	}
	from, keyed := `@.tasks t`, "t.key = %s"
	switch q.Status {
	case "":
	case task.Running, task.Queued, task.Interrupted:
		keyed = "t.id in (select task from @.keys where key = %s)"
		if from = runningTasks; q.Status != task.Running {
			from = waitingTasks
			where = append(where, "t.fresh = "+arg(q.Status == task.Queued))
		}
	case task.Succeeded:
		if q.Key == "" && len(q.IDs) == 0 {
			from, where = succeededTasks(where, limit), nil
			break
		}
		from = `@.records t` // a few, which are looked for one by one
		where = append(where, "t.status = 'succeeded'")
	default:
		from, keyed = `@.failures t`, "exists (select 1 from @.tasks k where k.id = t.id and k.key = %s)"
		where = append(where, "t.status = "+arg(string(q.Status)))
	}
	if q.Key != "" {
		where = append(where, fmt.Sprintf(keyed, arg(q.Key)))
	}
	return s.sql(pickIDs + from + whereAll(where) + " order by t.id desc limit " + limit + read), args, nil
}

func whereAll(conds []string) string {
	if len(conds) == 0 {
		return ""
	}
	return " where " + strings.Join(conds, " and ")
}

// succeededTasks are the newest ones that are admitted, and perhaps some more: those of rows, and those of the sheets that begin
// with the newest ids. As many sheets as tasks are wanted have enough of them, and no older one has a newer id than theirs, unless it began
// within the time that a sheet may span.
func succeededTasks(where []string, limit string) string {
	rows := append(slices.Clone(where), "t.status = 'succeeded'")
	sheets := append(slices.Clone(where), `t.ms >= coalesce((select t.ms from (select first as id, lane, ms from @.successes) t`+
		whereAll(where)+` order by t.ms desc offset `+limit+` limit 1), 0) - `+strconv.Itoa(maxSpan))
	return `(
		(select t.id from (select s.task as id, t.lane, s.status from @.states s join @.tasks t on t.id = s.task) t` + whereAll(rows) + ` order by t.id desc limit ` + limit + `)
		union all
		select t.id from (select m.task as id, s.lane, s.ms from @.successes s, unnest(s.tasks) as m(task)) t` + whereAll(sheets) + `
	) t`
}

// History implements task.Store.
func (s *Store) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	var runs []task.RunRecord
	err := s.again(ctx, func(ctx context.Context) error {
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
