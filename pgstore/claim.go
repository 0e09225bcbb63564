package pgstore

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// A claim takes tasks out of ready, and writes one row for all of them of a lane. The worker's own row is
// locked first, in a mode that its beats do not mind: who marks a worker dead waits for its claims, and
// sees what they took. What is picked is locked before it is deleted, so that claims do not wait for each
// other. Rows of earlier claims of which everything has ended go with it.
const claimHead = `
with me as materialized (
	select n, floor(extract(epoch from now()) * 1000)::bigint as clock from @.workers where id = $1 and not dead for key share
), want as materialized (
	select k.* from unnest($2::integer[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::timestamptz[], $8::uuid[],
		$9::integer[], $10::integer[], $11::integer[]) as k(lane, kind, most, rank, fresh, run_at, id, attempts, crashes, interruptions)
	join @.lanes n on n.n = k.lane and not exists (select 1 from @.paused p where p.queue = n.queue)
), picked as (
	delete from @.ready where ctid = any (array(`

// suspectWaits says whether a claim must look at suspects. As a join it could be planned as a walk
// through all that is ready.
const suspectWaits = `exists (select 1 from want k, lateral (select 1 from @.ready q where q.lane = k.lane and q.suspect limit 1) s where $12)`

// pickOne reads one lane in the order of its index, from a lower bound on, unless a suspect waits.
const pickOne = `
		select r.ctid from me, want k, lateral (
			select q.ctid from @.ready q
			where q.lane = k.lane and not q.suspect and (q.rank, q.fresh, q.run_at, q.id) >= (k.rank, k.fresh, k.run_at, k.id) and q.id <> all ($13::uuid[])
			order by q.rank, q.fresh, q.run_at, q.id limit least(k.most, $14) for update skip locked
		) r
		where not ` + suspectWaits

// fromBound is where to begin in a lane; its suspects are looked at from the first on. It is one comparison,
// so that the index is entered there: with an or it is walked from its beginning.
const fromBound = `(q.rank, q.fresh, q.run_at, q.id) >= (case when s.suspect then -9223372036854775808 else k.rank end, k.fresh, k.run_at, k.id)`

// pickMany reads some lanes, and their suspects, and merges them.
const pickMany = `
		select m.ctid from (
			select r.*, k.most, row_number() over (partition by k.kind order by r.rank, r.fresh, r.run_at, r.id) as of_kind,
				row_number() over (partition by s.suspect order by r.rank, r.fresh, r.run_at, r.id) as of_suspects
			from me, want k, (select false union all select true where $12) as s(suspect),
				lateral (
					select q.ctid, q.suspect, q.rank, q.fresh, q.run_at, q.id from @.ready q
					where q.lane = k.lane and q.suspect = s.suspect and q.id <> all ($13::uuid[])
						and ` + fromBound + `
					order by q.rank, q.fresh, q.run_at, q.id
					limit case when s.suspect then 1 else k.most end for update skip locked
				) r
		) m
		where m.of_kind <= m.most and (not m.suspect or m.of_suspects = 1)
		order by m.rank, m.fresh, m.run_at, m.id limit $14`

// claimTail returns what the first run of most tasks needs to know, a row of lists for each row that it writes;
// the rest is read apart.
var claimTail = `
	))
	returning lane, suspect, rank, fresh, run_at, id, run, runs, payload
), parts as materialized (
	select lane, suspect, max(run) as run, array_agg(id) as ids, array_agg(rank) as ranks, array_agg(fresh) as fresh, array_agg(run_at) as run_ats,
		array_agg(coalesce(runs, 0) + 1) as runs, array_agg(payload) as payloads
	from picked group by lane, suspect
), held as (
	insert into @.claims (worker, run, lane, suspect, max_attempts, max_crashes, max_interruptions, tasks)
	select me.n, greatest((select max(run) from parts) + 1, me.clock), p.lane, p.suspect, k.attempts, k.crashes, k.interruptions, p.ids
	from parts p join want k on k.lane = p.lane, me
	returning n, run, lane, suspect
), ` + clearing(`$15`) + `
select h.n, h.run, p.lane, p.suspect, p.ids, p.ranks, p.fresh, p.run_ats, p.runs, p.payloads, now(), ` + suspectWaits + `, ` + sheetsWait + `
from me left join (parts p join held h on h.lane = p.lane and h.suspect = p.suspect) on true`

// sheetsWait says whether something has been interrupted that is not among what is claimed from.
const sheetsWait = `exists (select 1 from @.interruptions i where i.lane = any ($2::integer[]))`

// lookSQL says whether a worker may claim, whether there is something to claim from the bounds on, and
// in how many microseconds the next delay runs out. It writes nothing, and reads a handful of pages. And it says whether a neighbour's lock
// is free, if that is asked: who comes by so often need not wait for the next round of those who look after neighbours.
var lookSQL = `
select exists (select 1 from @.workers where id = $1 and not dead),
	exists (select 1 from unnest($2::integer[], $5::bigint[], $6::boolean[], $7::timestamptz[], $8::uuid[]) as k(lane, rank, fresh, run_at, id)
		join @.lanes n on n.n = k.lane and not exists (select 1 from @.paused p where p.queue = n.queue),
		(select false union all select true where $3) as s(suspect),
		lateral (select 1 from @.ready q where q.lane = k.lane and q.suspect = s.suspect
			and ` + fromBound + ` limit 1) r),
	` + sheetsWait + `,
	case when $9 then exists (select 1 from @.workers w where w.id <> $1 and not w.dead and w.state <> 'left'
		and case when w.boot is distinct from pg_postmaster_start_time() then false
			else pg_try_advisory_xact_lock_shared(` + lockKey("w.id") + `) end) else false end,
	coalesce((select floor(extract(epoch from min(run_at) - now()) * 1000000)::bigint from @.delayed), $4),
	coalesce((select max(n) from @.lanes), 0)`

// promoteSQL moves tasks whose time has come to those that can be claimed.
const promoteSQL = `
with due as (
	delete from @.delayed where ctid = any (array(
		select ctid from @.delayed where run_at <= now() order by run_at, id limit 1000 for update skip locked
	))
	returning lane, suspect, rank, fresh, run_at, id, run, runs
)
insert into @.ready (lane, suspect, rank, fresh, run_at, id, run, runs) select lane, suspect, rank, fresh, run_at, id, run, runs from due`

// recallSQL reads what a claim does not return.
const recallSQL = `
select id, created, key, payload, reason, error, attempts, interruptions, crashes, crash_streak, interrupt_streak, checkpoint, fraction, message, result
from @.rows where id = any ($1)`

// Claim implements task.Store. It looks first when there was nothing the last time, and only when
// something has been announced or some time has gone by: an idle worker writes nothing, and asks
// little.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	who := whoClaims(req)
	quiet, news := s.claimer.isQuiet(who)
	if quiet && s.session.isUp() {
		return nil, s.usable(ctx)
	}
	var got []task.Task
	err := s.once(ctx, func(ctx context.Context) error {
		s.claimer.begin()
		defer s.claimer.end()
		again := true
		for n := 0; again && n < 2; n++ { // what somebody else puts back is announced by him
			w := s.want(req)
			if s.claimer.needsLook() {
				some, err := s.look(ctx, req, who, w, news)
				if err != nil || !some {
					return err
				}
			}
			var err error
			if got, again, err = s.take(ctx, req, w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// take claims. One lane, as most programs have, is read without merging, unless there are suspects. It says that there was nothing, but will
// be after a look.
func (s *Store) take(ctx context.Context, req task.ClaimRequest, w *wanted) (tasks []task.Task, again bool, err error) {
	began := time.Now()
	statements := []string{s.q.claimOne, s.q.claimMany}
	if len(w.lanes) > 1 {
		statements = statements[1:]
	}
	got, _ := s.scratch.Get().(*claimed)
	if got == nil {
		got = new(claimed)
	}
	defer s.scratch.Put(got)
	defer got.reset()
	over := s.holdings.takeOver()
	for _, sql := range statements {
		rows, err := s.pool.Query(ctx, sql, append(w.args(req), over)...)
		if err == nil {
			err = got.collect(rows, req.Worker)
		}
		if err != nil {
			s.holdings.giveBack(over)
			s.holdings.miss(req.Worker)
			return nil, false, err
		}
		if !got.suspectWaits {
			break
		}
	}
	s.claimer.set(len(got.places) > 0)
	if got.sheetsWait {
		s.claimer.lookAgain()
		if len(got.places) == 0 && req.Max > 0 {
			return nil, true, nil
		}
	}
	tasks = got.inOrder(req.Into)
	err = s.complete(ctx, tasks, got.places, w)
	s.holdings.add(got, tasks, err == nil)
	if err != nil {
		return nil, false, err
	}
	s.claimer.took(len(tasks) >= req.Max, time.Since(began), got.ends)
	return tasks, false, nil
}

// complete fills in what a claim did not return.
func (s *Store) complete(ctx context.Context, tasks []task.Task, places []place, w *wanted) error {
	for i := range tasks {
		l, err := s.byNumber(ctx, places[i].lane)
		if err != nil {
			return err
		}
		tasks[i].Kind, tasks[i].Queue = l.kind, l.queue
		tasks[i].Caps = w.caps[l.kind]
	}
	return s.recall(ctx, tasks)
}

// look says whether a claim is worth while, and promotes what has become due.
func (s *Store) look(ctx context.Context, req task.ClaimRequest, who string, w *wanted, news uint64) (some bool, err error) {
	var (
		registered, ready, sheets, free bool
		next                            int64
		newest                          int32
	)
	err = s.pool.QueryRow(ctx, s.q.look, req.Worker, w.lanes, req.Suspect, quietFor.Microseconds(), w.ranks, w.fresh, w.runAts, w.ids,
		s.claimer.glances()).Scan(&registered, &ready, &sheets, &free, &next, &newest)
	if err != nil {
		return false, err
	}
	if !registered {
		return false, task.ErrWorkerGone
	}
	if free {
		s.wake(0, 0, 1)
	}
	if newest > s.lanes.newest() { // somebody has made a lane: look again, there too
		if err := s.readLanes(ctx); err != nil {
			return false, err
		}
		*w = *s.want(req)
		return s.look(ctx, req, who, w, news)
	}
	if sheets {
		return true, s.takeUp(ctx, w.lanes)
	}
	due := next <= 0
	if !ready && !due {
		if s.claimer.forget() { // what stands before the bounds has not been seen
			*w = *s.want(req)
			return s.look(ctx, req, who, w, news)
		}
		s.claimer.hush(who, news, time.Duration(min(next, quietFor.Microseconds()))*time.Microsecond)
		return false, nil
	}
	if due {
		if _, err := s.pool.Exec(ctx, s.q.promote); err != nil {
			return false, err
		}
		s.claimable(everything) // not all of them need be of this worker's kinds
	}
	return true, nil
}

// takeUp puts back some of what was interrupted in some lanes. More of it is found by the next claim's look.
func (s *Store) takeUp(ctx context.Context, lanes []int32) error {
	n, err := s.restore(ctx, lanes)
	if n > 0 {
		s.claimer.early(everything)
		s.claimer.lookAgain()
	}
	return err
}

// claimed is what a claim got. Its memory is used again.
type claimed struct {
	tasks  []task.Task
	places []place // of the tasks, in the same order
	rows   []int64 // of the table of claims
	// suspectWaits: nothing was taken, since a suspect must be looked at. sheetsWait: there is more to claim than what could be taken.
	suspectWaits, sheetsWait bool
}

// reset forgets everything, and lets go what the tasks refer to.
func (c *claimed) reset() {
	clear(c.tasks)
	c.tasks, c.places, c.rows, c.suspectWaits, c.sheetsWait = c.tasks[:0], c.places[:0], c.rows[:0], false, false
}

// place is where a task stood.
type place struct {
	bound
	lane    int32
	suspect bool
	claim   int64
	row     int // of the answer
}

// collect reads the rows of a claim. No row: the worker is not registered. A row of nulls: it is, and
// there was nothing.
func (c *claimed) collect(rows pgx.Rows, worker string) error {
	defer rows.Close()
	c.reset()
	known := false
	for rows.Next() {
		if known = true; rows.RawValues()[0] == nil {
			if err := rows.Scan(nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, &c.suspectWaits, &c.sheetsWait); err != nil {
				return err
			}
			continue
		}
		var (
			of       place
			run      int64
			ids      [][16]byte
			ranks    []int64
			fresh    []bool
			runAts   []time.Time
			runs     []int32
			payloads [][]byte
			started  time.Time
		)
		if err := rows.Scan(&of.claim, &run, &of.lane, &of.suspect, &ids, &ranks, &fresh, &runAts, &runs, &payloads, &started, nil, &c.sheetsWait); err != nil {
			return err
		}
		c.rows = append(c.rows, of.claim)
		for i, id := range ids {
			of.row = len(c.tasks)
			of.bound = bound{rank: ranks[i], fresh: fresh[i], runAt: runAts[i], id: id}
			c.places = append(c.places, of)
			c.tasks = append(c.tasks, task.Task{
				ID: formatID(id), Worker: worker, Status: task.Running, Run: run, Runs: int(runs[i]), Payload: payloads[i],
				Priority: int(^ranks[i]), Created: runAts[i], RunAt: runAts[i], Started: started, Since: started,
			})
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if !known {
		return task.ErrWorkerGone
	}
	return nil
}

// inOrder copies the tasks, which come as they stood on the disk, in the order of their lanes.
func (c *claimed) inOrder(into []task.Task) []task.Task {
	byPlace := func(a, b place) int { return a.compare(b.bound) }
	if !slices.IsSortedFunc(c.places, byPlace) {
		slices.SortFunc(c.places, byPlace)
	}
	into = slices.Grow(into[:0], len(c.places))
	for _, p := range c.places {
		into = append(into, c.tasks[p.row])
	}
	return into
}

// ends are the places where the claim ended in each lane.
func (c *claimed) ends() map[int32]bound {
	last := make(map[int32]bound)
	for _, p := range c.places {
		if !p.suspect {
			last[p.lane] = p.bound
		}
	}
	return last
}

// recall fills in what the claim did not return: of tasks that have run before, and of those that are more
// than a small payload.
func (s *Store) recall(ctx context.Context, tasks []task.Task) error {
	var ids [][16]byte
	known := make(map[[16]byte]*task.Task)
	for i := range tasks {
		if t := &tasks[i]; t.Payload == nil {
			id, _ := parseID(t.ID) // the server's own
			ids, known[id] = append(ids, id), t
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := s.pool.Query(ctx, s.q.recall, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		if err := rows.Scan(&id, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil); err != nil {
			return err
		}
		t := known[id]
		if err := rows.Scan(nil, &t.Created, &t.Key, &t.Payload, &t.Reason, &t.Error, &t.Attempts, &t.Interruptions, &t.Crashes,
			&t.CrashStreak, &t.InterruptStreak, &t.Checkpoint, &t.Progress.Fraction, &t.Progress.Message, &t.Result); err != nil {
			return err
		}
	}
	return rows.Err()
}
