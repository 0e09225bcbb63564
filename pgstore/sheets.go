package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// A sheet is one row for many runs of a claim that ended together and left nothing but that: a thousand successes are
// ten rows, and no row of a task is written. It is written only by the process that has the runs, which knows that they
// have not ended (holdings.go), and that no transaction of somebody is ending them. Two rows are its guard, and locked: that of the worker, so
// that who marks the worker dead waits for its sheets and sees what they ended; and that of the claim, which whoever else is at one of
// its runs sets apart first: from then on the claim has no more sheets, and its runs are ended one by one.
//
// A sheet of successes stays until its tasks are pruned. One of interruptions is an intermediate state, for a stop that must be quick: who
// looks for something to claim puts its tasks back among those that wait (restoreSQL), and so does a command about one of them.
type sheet struct {
	claim int64
	items []item // sorted by task
}

const (
	// sheetFrom is the number of ends from which a sheet is worth while.
	sheetFrom = 16
	// maxSuccesses bounds a sheet of successes, which must fit into a page's part that PostgreSQL does not store elsewhere. Interruptions
	// are not looked for one by one, and have a statement's bound.
	maxSuccesses = 100
	// maxSpan bounds the time between a sheet's first and last id, in milliseconds: who looks for a task looks no further back. The view
	// records has the same number. It is also what keeps ids off that are not ordered by time.
	maxSpan = 250
)

// sheetHead locks what guards a sheet.
const sheetHead = `
with me as materialized (
	select n from @.workers where id = $1 and not dead for key share
), k as materialized (
	select c.n, c.lane, c.worker, c.run, c.started, c.max_attempts, c.max_crashes, c.max_interruptions
	from @.claims c, me where c.n = any ($2::bigint[]) and c.worker = me.n and not c.apart order by c.n for share of c
), `

// successSheetsSQL writes sheets, and answers with the claims of those that it wrote.
const successSheetsSQL = sheetHead + `made as (
	insert into @.successes (claim, lane, worker, run, started, since, max_attempts, max_crashes, max_interruptions, ms, first, last, tasks)
	select k.n, k.lane, k.worker, k.run, k.started, now(), k.max_attempts, k.max_crashes, k.max_interruptions,
		@.ms(($5::uuid[])[g.first]), ($5::uuid[])[g.first], ($5::uuid[])[g.last], ($5::uuid[])[g.first:g.last]
	from unnest($2::bigint[], $3::integer[], $4::integer[]) as g(claim, first, last) join k on k.n = g.claim
	returning lane, cardinality(tasks) as n
), counted as (
	insert into @.tallies (lane, status, n) select lane, 'succeeded', sum(n) from made group by 1
)
select n from k`

const interruptionSheetsSQL = sheetHead + `made as (
	insert into @.interruptions (claim, lane, worker, run, started, since, max_attempts, max_crashes, max_interruptions, first, last, tasks,
		reason, attempts, interruptions, crashes, crash_streaks, interrupt_streaks, delays)
	select k.n, k.lane, k.worker, k.run, k.started, now(), k.max_attempts, k.max_crashes, k.max_interruptions,
		($5::uuid[])[g.first], ($5::uuid[])[g.last], ($5::uuid[])[g.first:g.last],
		$6, ($7::integer[])[g.first:g.last], ($8::integer[])[g.first:g.last], ($9::integer[])[g.first:g.last],
		($10::integer[])[g.first:g.last], ($11::integer[])[g.first:g.last], ($12::bigint[])[g.first:g.last]
	from unnest($2::bigint[], $3::integer[], $4::integer[]) as g(claim, first, last) join k on k.n = g.claim
)
select n from k`

// apartSQL sets claims apart.
const apartSQL = `
update @.claims k set apart = true
from unnest($1::text[], $2::bigint[]) as c(incarnation, run) join @.incarnations i on i.id = c.incarnation
where k.worker = i.n and k.run = c.run and not k.apart`

// inNoSheet says, of a claim k and a change c, that no sheet has ended that run.
const inNoSheet = `not exists (select 1 from @.successes s where s.claim = k.n and c.task = any (s.tasks))
	and not exists (select 1 from @.interruptions i where i.claim = k.n and c.task = any (i.tasks))`

// restoreHead takes sheets of interruptions away, and puts their tasks where they can be claimed. Their rows are not locked: what has
// not ended is not pruned, and a command has its own task put back first.
const restoreHead = `
with gone as (
	delete from @.interruptions where n = any (array(`

const restoreTail = `))
	returning worker, run, started, since, reason, max_attempts, max_crashes, max_interruptions,
		tasks, attempts, interruptions, crashes, crash_streaks, interrupt_streaks, delays
), written as (
	insert into @.states as s (task, run, runs, worker, started, since, run_at, status, reason,
		attempts, interruptions, crashes, crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions)
	select m.task, g.run, 1, g.worker, g.started, g.since, g.since + m.delay * interval '1 microsecond', 'interrupted', g.reason,
		m.attempts, m.interruptions, m.crashes, m.crash_streak, m.interrupt_streak, g.max_attempts, g.max_crashes, g.max_interruptions
	from gone g, unnest(g.tasks, g.attempts, g.interruptions, g.crashes, g.crash_streaks, g.interrupt_streaks, g.delays)
		as m(task, attempts, interruptions, crashes, crash_streak, interrupt_streak, delay)
	on conflict (task) do update set ` + anotherRun + `,
		run_at = excluded.run_at, status = excluded.status, reason = excluded.reason, error = null, crashed = null, taken = null,
		` + counters + `
	where coalesce(s.run, 0) < excluded.run
	returning s.task, s.status, s.run_at, s.crash_streak, s.run, s.runs
), done as (
	select t.id, t.lane, t.priority, t.key, w.status, w.run_at, w.crash_streak >= 2 as suspect, w.run, w.runs
	from written w join @.tasks t on t.id = w.task
), ` + againSQL + `, ` + keptSQL + `
select count(*) from gone`

// restoreSQL is for some lanes, as many sheets as are asked for; what somebody else is at is left to him.
const restoreSQL = restoreHead + `
	select n from @.interruptions where lane = any ($1::integer[]) order by n limit $2 for update skip locked` + restoreTail

// restoreOneSQL is for one task.
const restoreOneSQL = restoreHead + `
	select n from @.interruptions where first <= $1::uuid and last >= $1::uuid and $1::uuid = any (tasks) for update` + restoreTail

// sheets finds out which ends can go on sheets, and returns the others too. items are sorted by task.
func (s *Store) sheets(items []item) (sheets []sheet, rest []item) {
	var fit []item
	for _, it := range items {
		if it.sheet {
			fit = append(fit, it)
		} else {
			rest = append(rest, it)
		}
	}
	slices.SortFunc(fit, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.claim, b.claim), bytes.Compare(a.key[:], b.key[:]))
	})
	for from, i := 0, 1; i <= len(fit); i++ {
		if i < len(fit) && i-from < sheetMost(&fit[from]) && fit[i].sameSheet(&fit[from]) {
			continue
		}
		if i-from >= s.sheetFrom {
			sheets = append(sheets, sheet{claim: fit[from].claim, items: fit[from:i]})
		} else {
			rest = append(rest, fit[from:i]...)
		}
		from = i
	}
	return sheets, rest
}

// sheetMost is how many ends a sheet may have.
func sheetMost(it *item) int {
	if it.Status == task.Succeeded {
		return maxSuccesses
	}
	return maxBatch
}

// sameSheet says whether an end can stand on the sheet that another one began.
func (it *item) sameSheet(first *item) bool {
	return it.Status == first.Status && it.claim == first.claim && it.Worker == first.Worker && it.Reason == first.Reason &&
		idTime(it.key)-idTime(first.key) <= maxSpan
}

// idTime is when an id was made, in milliseconds, if it is a UUIDv7.
func idTime(id [16]byte) uint64 { return binary.BigEndian.Uint64(id[:8]) >> 16 }

// writeSheets writes sheets, and returns the ends that must be made one by one.
func (s *Store) writeSheets(ctx context.Context, sheets []sheet, errs []error) (rest []item) {
	for from, i, n := 0, 0, 0; i <= len(sheets); i++ {
		if i < len(sheets) && n+len(sheets[i].items) <= maxBatch && (i == from || sheets[i].together(&sheets[from])) {
			n += len(sheets[i].items)
			continue
		}
		if from < i {
			rest = append(rest, s.writeSome(ctx, sheets[from:i], errs)...)
		}
		if i == len(sheets) {
			break
		}
		from, n = i, len(sheets[i].items)
	}
	return rest
}

// together says that two sheets can be written by one statement.
func (sh *sheet) together(other *sheet) bool {
	a, b := &sh.items[0], &other.items[0]
	return a.Status == b.Status && a.Worker == b.Worker && a.Reason == b.Reason
}

// writeSome writes sheets in one statement.
func (s *Store) writeSome(ctx context.Context, sheets []sheet, errs []error) (rest []item) {
	var (
		claims      = make([]int64, len(sheets))
		first, last = make([]int32, len(sheets)), make([]int32, len(sheets))
		items       []item
	)
	for i, sh := range sheets {
		claims[i], first[i] = sh.claim, small(len(items)+1)
		items = append(items, sh.items...)
		last[i] = small(len(items))
	}
	tasks := make([][16]byte, len(items))
	for i := range items {
		tasks[i] = items[i].key
	}
	sql, args := s.q.successSheets, []any{items[0].Worker, claims, first, last, tasks}
	if items[0].Status == task.Interrupted {
		sql = s.q.interruptionSheets
		args = append(args, interruptionArgs(items)...)
	}
	var written []int64
	err := s.once(ctx, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err == nil {
			written, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		}
		return err
	})
	if err != nil { // the answer may have been lost
		for i := range items {
			errs[items[i].place] = err
		}
		s.holdings.doubt(items)
		return nil
	}
	ended := make([]*item, 0, len(items))
	for _, sh := range sheets {
		if !slices.Contains(written, sh.claim) {
			rest = append(rest, sh.items...)
			continue
		}
		for i := range sh.items {
			errs[sh.items[i].place] = nil
			ended = append(ended, &sh.items[i])
		}
	}
	s.holdings.ended(ended)
	return rest
}

func interruptionArgs(items []item) []any {
	c := newCounterArrays(items)
	delays := make([]int64, len(items))
	for i, it := range items {
		delays[i] = it.Delay.Microseconds()
	}
	return []any{string(items[0].Reason), c.attempts, c.interruptions, c.crashes, c.crashStreaks, c.interruptStreaks, delays}
}

// restoreAtOnce bounds the sheets that one statement puts back.
const restoreAtOnce = 2

// restore puts back what stands on some sheets of interruptions in some lanes, and says how many sheets that were.
func (s *Store) restore(ctx context.Context, lanes []int32) (n int, err error) {
	return n, s.pool.QueryRow(ctx, s.q.restore, lanes, restoreAtOnce).Scan(&n)
}
