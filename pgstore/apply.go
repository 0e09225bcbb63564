package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// What is written over a task's state: by the end of a run, and by whatever has the counters.
const (
	anotherRun = `run = excluded.run, runs = coalesce(s.runs, 0) + 1, worker = excluded.worker, started = excluded.started, since = excluded.since,
		max_attempts = excluded.max_attempts, max_crashes = excluded.max_crashes, max_interruptions = excluded.max_interruptions`
	counters = `attempts = excluded.attempts, interruptions = excluded.interruptions, crashes = excluded.crashes,
		crash_streak = excluded.crash_streak, interrupt_streak = excluded.interrupt_streak`
)

// ofTheirClaims finds, for changes c, the task t and the claim k that has its run, and locks the task's row.
const ofTheirClaims = `join @.incarnations i on i.id = c.incarnation
	join @.tasks t on t.id = c.task
	join lateral (
		select * from @.claims k where k.worker = i.n and k.run = c.run and k.lane = t.lane and (c.known or c.task = any (k.tasks) and ` + inNoSheet + `)
		limit 1 -- of two claims in one millisecond
	) k on true
	for key share of t`

// finishSQL ends runs. A run has ended when its number stands in the task's state, so the writing of that row
// is the guard of all ends, and meets what was asked of the run in the version that is replaced: a guard
// that is only looked at is none. The claim says whose the run is, which does not change: its row goes only when
// all its runs have ended. The task's row is locked against being pruned, and against commands. The last run's record stands in the
// task's state; the one before it goes to runs.
const finishSQL = `
with ended as materialized (
	select c.*, k.worker, k.started, k.max_attempts, k.max_crashes, k.max_interruptions
	from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
			$8::integer[], $9::integer[], $10::integer[], $11::integer[], $12::integer[],
			$13::bytea[], $14::double precision[], $15::text[], $16::boolean[], $17::boolean[], $18::bytea[], $19::bytea[], $20::boolean[])
		as c(task, run, incarnation, status, reason, error, delay, attempts, interruptions, crashes, crash_streak, interrupt_streak,
			checkpoint, fraction, message, crashed, taken, result, log, known)
	` + ofTheirClaims + `
), written as (
	insert into @.states as s (task, run, runs, worker, started, since, status, reason, error, crashed, taken,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions,
		checkpoint, fraction, message, result, run_at)
	select task, run, 1, worker, started, now(), status, reason, error, crashed, taken,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions,
		checkpoint, fraction, message, case when status = 'succeeded' then result end,
		case when status in ('queued', 'interrupted') then now() + delay * interval '1 microsecond' end
	from ended
	on conflict (task) do update set ` + anotherRun + `,
		status = case when s.asked = 'cancel' and excluded.status in ('queued', 'interrupted') then 'cancelled' else excluded.status end,
		reason = case when s.asked = 'cancel' then '' else excluded.reason end,
		error = excluded.error, crashed = excluded.crashed, taken = excluded.taken,
		` + counters + `,
		checkpoint = coalesce(excluded.checkpoint, s.checkpoint),
		fraction = coalesce(excluded.fraction, s.fraction), message = coalesce(excluded.message, s.message),
		result = case when excluded.status = 'succeeded' then excluded.result else s.result end,
		run_at = case when s.asked = 'cancel' then s.run_at else coalesce(excluded.run_at, s.run_at) end,
		asked = null
	where coalesce(s.run, 0) < excluded.run
	returning s.task, s.status, s.run_at, s.crash_streak, s.run, s.runs
), done as (
	select t.id, t.lane, t.priority, t.key, w.status, w.run_at, w.crash_streak >= 2 as suspect, w.run, w.runs
	from written w join @.tasks t on t.id = w.task
), ` + againSQL + `, ` + loggedSQL + `, heard as (
	delete from @.asked a using done d where a.task = d.id
), fallen as (
	insert into @.failures (id, lane, status) select id, lane, status from done where status in ('failed', 'cancelled')
), ` + pastSQL + `
` + madeSQL

// loggedSQL appends to the logs of what was written. The comparison is in brackets, so that it is one with a table of hashes. A join of
// two lists might compare each with each, for want of estimates; that is also why done looks for its tasks once more, by their keys.
const loggedSQL = `logged as (
	insert into @.logs as o (task, body) select task, log from ended where log is not null and (task in (select id from done)) is true
	on conflict (task) do update set body = substring(o.body || excluded.body from greatest(length(o.body || excluded.body) - 65535, 1))
)`

// againSQL puts those whose run has ended, but not they, where they wait.
const againSQL = `soon as (
	insert into @.ready (lane, suspect, rank, fresh, run_at, id, run, runs)
	select lane, suspect, ~priority, status = 'queued', run_at, id, run, runs from done
	where status in ('queued', 'interrupted') and run_at <= now()
), later as (
	insert into @.delayed (lane, suspect, rank, fresh, run_at, id, run, runs)
	select lane, suspect, ~priority, status = 'queued', run_at, id, run, runs from done
	where status in ('queued', 'interrupted') and run_at > now()
)`

// keptSQL keeps the runs before the last one. A history keeps a hundred: the one under way, the
// one in the task's state, which is read as it was before the end, and ninety-eight more.
const keptSQL = `past as (
	insert into @.runs (task, run, started, ended, worker, crashed, taken, status, reason, error)
	select t.id, t.run, t.started, t.since, t.worker, t.crashed, t.taken, t.status, t.reason, t.error
	from done h join @.rows t on t.id = h.id where h.runs > 1 and t.run > 0
	on conflict do nothing
), trimmed as (
	delete from @.runs r using done h, lateral (
		select o.run from @.runs o where o.task = h.id order by o.run desc offset 97 limit 1
	) old where h.runs > 98 and r.task = h.id and r.run <= old.run
)`

// pastSQL is what ends of any sort have in common.
const pastSQL = keptSQL + `, unkeyed as (
	delete from @.keys k using done d, @.lanes n where d.key <> '' and d.status in ('succeeded', 'failed', 'cancelled')
		and n.n = d.lane and k.kind = n.kind and k.key = d.key and k.task = d.id
), counted as (
	insert into @.tallies (lane, status, n) select lane, status, count(*) from done
	where status in ('succeeded', 'failed', 'cancelled') group by lane, status
)`

// madeSQL tells which runs were ended, where not all were.
const madeSQL = `select array_agg(id) from done having count(*) < cardinality($1)`

// succeedSQL is finishSQL for successes of known runs of one worker that leave nothing but themselves, and of
// which nothing was asked: the common case, in a fraction of the time.
const succeedSQL = `
with ended as materialized (
	select c.task, c.run, k.worker, k.started, k.max_attempts, k.max_crashes, k.max_interruptions
	from unnest($1::uuid[], $2::bigint[]) as c(task, run)
	join @.tasks t on t.id = c.task
	join lateral (
		select * from @.claims k where k.worker = (select n from @.incarnations where id = $3) and k.run = c.run and k.lane = t.lane
		limit 1 -- of two claims in one millisecond
	) k on true
	for key share of t
), written as (
	insert into @.states as s (task, run, runs, worker, started, since, status, max_attempts, max_crashes, max_interruptions)
	select task, run, 1, worker, started, now(), 'succeeded', max_attempts, max_crashes, max_interruptions from ended
	on conflict (task) do update set ` + anotherRun + `,
		status = excluded.status, reason = null, error = null, crashed = null, taken = null, result = null
	where coalesce(s.run, 0) < excluded.run and s.asked is null
	returning s.task, s.status, s.runs
), done as (
	select t.id, t.lane, t.key, w.status, w.runs from written w join @.tasks t on t.id = w.task
), ` + pastSQL + `
` + madeSQL

// checkpointSQL changes tasks within their runs.
const checkpointSQL = `
with ended as materialized (
	select c.* from unnest($1::uuid[], $2::bigint[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
			$9::bytea[], $10::double precision[], $11::text[], $12::bytea[], $13::boolean[])
		as c(task, run, incarnation, attempts, interruptions, crashes, crash_streak, interrupt_streak, checkpoint, fraction, message, log, known)
	` + ofTheirClaims + `
), written as (
	insert into @.states as s (task, saved, attempts, interruptions, crashes, crash_streak, interrupt_streak, checkpoint, fraction, message)
	select task, run, attempts, interruptions, crashes, crash_streak, interrupt_streak, checkpoint, fraction, message from ended
	on conflict (task) do update set saved = excluded.saved,
		` + counters + `,
		checkpoint = coalesce(excluded.checkpoint, s.checkpoint),
		fraction = coalesce(excluded.fraction, s.fraction), message = coalesce(excluded.message, s.message)
	where coalesce(s.run, 0) < excluded.saved
	returning s.task
), done as (
	select task as id from written
), ` + loggedSQL + `
` + madeSQL

// lateSQL says, for runs that are no longer held, whether the task exists and how the run ended.
const lateSQL = `
select t.id is not null, coalesce(x.status, ''), coalesce(x.reason, ''), coalesce(x.taken, false)
from unnest($1::uuid[], $2::bigint[], $3::text[]) with ordinality as c(task, run, worker, nr)
left join @.incarnations i on i.id = c.worker
left join @.rows t on t.id = c.task
left join lateral (
	select r.status, r.reason, r.taken from @.runs r where r.task = c.task and r.run = c.run and r.worker = i.n
	union all
	select t.status, t.reason, t.taken where t.runs > 0 and t.run = c.run and t.worker = i.n
		and not exists (select 1 from @.runs r where r.task = c.task and r.run = c.run)
	union all
	select s.status, s.reason, s.taken from @.records s where s.id = c.task and s.run = c.run and s.run > t.run and s.worker = i.n
) x on true
order by c.nr`

// item is a change that is to be made.
type item struct {
	*task.Change
	key   [16]byte
	place int  // in the caller's list
	round int  // of the changes of one task, which are made one after the other
	of    sort // of statement
	known bool // a claim of this process has the run
	claim int64
	sheet bool // it can stand on a sheet
}

// together says that two changes can be made in one statement.
func (it *item) together(other *item) bool {
	return it.round == other.round && it.of == other.of && (it.of != plainSuccess || it.Worker == other.Worker)
}

// compare is the order of the statements, and in a statement that of the tasks.
func (it *item) compare(other *item) int {
	if it.together(other) {
		return bytes.Compare(it.key[:], other.key[:])
	}
	return cmp.Or(cmp.Compare(it.round, other.round), cmp.Compare(it.of, other.of), cmp.Compare(it.Worker, other.Worker))
}

// Apply implements task.Store. Ends that leave nothing else stand on sheets, where there are enough of them. The other changes are
// made in statements of many, sorted by task; when one of them cannot be written, the statement is halved until only that one fails.
func (s *Store) Apply(ctx context.Context, changes []task.Change) []error {
	errs := make([]error, len(changes))
	if err := s.usable(ctx); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	sheets, items := s.sheets(s.items(changes, errs))
	items = append(items, s.writeSheets(ctx, sheets, errs)...)
	for _, batch := range batches(items) {
		s.applyBatch(ctx, batch, errs)
	}
	for i, c := range changes {
		if errs[i] == nil && c.Status.Claimable() {
			s.claimer.lookAgain() // it may stand on a sheet
			s.claimable(everything)
			break
		}
	}
	return errs
}

// items finds out how changes can be made. They are sorted by task.
func (s *Store) items(changes []task.Change, errs []error) []item {
	all := make([]item, 0, len(changes))
	for i := range changes {
		c := &changes[i]
		key, ok := parseID(c.Task)
		if !ok {
			errs[i] = task.ErrNotFound
			continue
		}
		all = append(all, item{Change: c, key: key, place: i, of: sortOf(c)})
	}
	s.holdings.look(all)
	byTask := func(a, b item) int {
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.place, b.place))
	}
	if !slices.IsSortedFunc(all, byTask) {
		slices.SortFunc(all, byTask)
	}
	for i := range all {
		if i > 0 && all[i].key == all[i-1].key {
			all[i].round = all[i-1].round + 1
			all[i].sheet, all[i-1].sheet = false, false
		}
	}
	return all
}

// batches sorts changes into statements: changes within a run apart from those that end one, and
// changes of one task one after the other.
func batches(all []item) [][]item {
	slices.SortFunc(all, func(a, b item) int { return a.compare(&b) })
	var sorted [][]item
	for from, i := 0, 1; i <= len(all); i++ {
		if i == len(all) || i-from == maxBatch || !all[i].together(&all[from]) {
			sorted, from = append(sorted, all[from:i]), i
		}
	}
	return sorted
}

// maxBatch bounds a statement.
const maxBatch = 1000

func (s *Store) applyBatch(ctx context.Context, items []item, errs []error) {
	err := s.once(ctx, func(ctx context.Context) error {
		of := items[0].of
		missed, err := s.write(ctx, of, items, errs)
		if err == nil && len(missed) > 0 && of == plainSuccess { // something was asked of it
			missed, err = s.write(ctx, ending, missed, errs)
		}
		if err != nil {
			return err
		}
		return s.verdicts(ctx, missed, errs)
	})
	if err == nil {
		return
	}
	if len(items) > 1 && isRowError(err) {
		half := len(items) / 2
		s.applyBatch(ctx, items[:half], errs)
		s.applyBatch(ctx, items[half:], errs)
		return
	}
	for _, it := range items {
		errs[it.place] = err
		s.holdings.miss(it.Worker) // the answer may have been lost
	}
}

// write makes changes of one sort in one statement, and returns those that met no run.
func (s *Store) write(ctx context.Context, of sort, items []item, errs []error) (missed []item, err error) {
	made, all, err := s.execute(ctx, of, items)
	if err != nil {
		return nil, err
	}
	ended := make([]*item, 0, len(items))
	for i, it := range items {
		errs[it.place] = nil
		if !all && !made[it.key] {
			missed = append(missed, it)
		} else if of != within {
			ended = append(ended, &items[i])
		}
	}
	s.holdings.ended(ended)
	return missed, nil
}

// takePatience bounds the wait for a row when runs are taken from a worker, in milliseconds: one of them may
// be ending in a transaction that somebody has open, for as long as its process stands still, and must not hold
// back the others.
const takePatience = "100"

// execute runs a statement of changes, and says which of them, or that all, were made. The claims of runs that this process
// does not know are set apart before: who knows them writes no more sheets.
func (s *Store) execute(ctx context.Context, of sort, items []item) (made map[[16]byte]bool, all bool, err error) {
	sql, args := s.applySQL(of), applyArgs(of, items)
	foreign, taken := foreignOf(items), slices.ContainsFunc(items, func(it item) bool { return it.Taken })
	if len(foreign.runs) == 0 && !taken {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return nil, false, err
		}
		return collectMade(rows)
	}
	var together pgx.Batch // in one transaction
	if taken {
		together.Queue(`select set_config('lock_timeout', $1, true)`, takePatience)
	}
	together.Queue(s.q.apart, foreign.workers, foreign.runs)
	together.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		made, all, err = collectMade(rows)
		return err
	})
	return made, all, s.pool.SendBatch(ctx, &together).Close()
}

// foreignOf returns the runs' numbers and workers of what this process does not know.
func foreignOf(items []item) (l fenceList) {
	for _, it := range items {
		if it.known {
			continue
		}
		if n := len(l.runs); n == 0 || l.runs[n-1] != it.Run || l.workers[n-1] != it.Worker {
			l.runs, l.workers = append(l.runs, it.Run), append(l.workers, it.Worker)
		}
	}
	return l
}

// collectMade reads the answer of madeSQL.
func collectMade(rows pgx.Rows) (made map[[16]byte]bool, all bool, err error) {
	some, err := pgx.CollectRows(rows, pgx.RowTo[[][16]byte])
	if err != nil || len(some) == 0 {
		return nil, err == nil, err
	}
	made = make(map[[16]byte]bool, len(some[0]))
	for _, id := range some[0] {
		made[id] = true
	}
	return made, false, nil
}

// sort says which statement makes a change, if it does not stand on a sheet.
type sort int

const (
	within       sort = iota // the run goes on
	ending                   // any end
	plainSuccess             // a success of a known run that leaves nothing else
)

// sortOf chooses the statement for a run that is known. The counters of a plain success are those of the claim, or have been
// written with a checkpoint.
func sortOf(c *task.Change) sort {
	switch {
	case c.Status == task.Running:
		return within
	case c.Status == task.Succeeded && isBare(c):
		return plainSuccess
	}
	return ending
}

// isBare says that a change leaves nothing but its status, reason and counters.
func isBare(c *task.Change) bool {
	return c.Checkpoint == nil && c.Progress == nil && c.Result == nil && len(c.Log) == 0 && c.Error == "" && !c.Taken && !c.Crashed
}

func (s *Store) applySQL(of sort) string {
	switch of {
	case within:
		return s.q.checkpoint
	case plainSuccess:
		return s.q.succeed
	}
	return s.q.finish
}

// verdicts says what changes mean whose run is no longer held: a repetition, a contradiction, or a
// loss.
func (s *Store) verdicts(ctx context.Context, items []item, errs []error) error {
	if len(items) == 0 {
		return nil
	}
	a := newApplyArrays(items)
	rows, err := s.pool.Query(ctx, s.q.late, a.tasks, a.runs, a.workers)
	if err != nil {
		return err
	}
	var (
		exists, taken  bool
		status, reason string
		n              int
	)
	_, err = pgx.ForEachRow(rows, []any{&exists, &status, &reason, &taken}, func() error {
		it := items[n]
		n++
		switch {
		case !exists:
			errs[it.place] = task.ErrNotFound
		case status == "" || taken || it.Status == task.Running:
			errs[it.place] = task.ErrLeaseLost
		case status == string(task.Cancelled) && it.Status.Claimable():
			// the cancellation that was asked for went before it
		case status != string(it.Status) || reason != string(it.Reason):
			errs[it.place] = task.ErrAlreadyFinished
		}
		return nil
	})
	return err
}
