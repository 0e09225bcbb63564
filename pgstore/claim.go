package pgstore

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// claimSQL moves tasks from ready to leases. The worker's own row is locked first, in a mode that
// its beats do not mind: who marks a worker dead waits for its claims, and sees their leases. Each
// lane is read in the order of its index, from a lower bound on, and the lanes are merged.
const claimSQL = `
with me as materialized (
	select n from @.workers where id = $1 and not dead for key share
), picked as (
	delete from @.ready where ctid = any (array(
		select m.ctid from (
			select r.*, k.most, row_number() over (partition by k.kind order by r.rank, r.fresh, r.run_at, r.id) as of_kind,
				row_number() over (partition by s.suspect order by r.rank, r.fresh, r.run_at, r.id) as of_suspects
			from me,
				unnest($2::integer[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::timestamptz[], $8::uuid[])
					as k(lane, kind, most, rank, fresh, run_at, id)
				join @.lanes n on n.n = k.lane and not exists (select 1 from @.paused p where p.queue = n.queue),
				unnest($9::boolean[]) as s(suspect),
				lateral (
					select q.ctid, q.suspect, q.rank, q.fresh, q.run_at, q.id from @.ready q
					where q.lane = k.lane and q.suspect = s.suspect and q.id <> all ($10::uuid[])
						and (s.suspect or (q.rank, q.fresh, q.run_at, q.id) >= (k.rank, k.fresh, k.run_at, k.id))
					order by q.rank, q.fresh, q.run_at, q.id
					limit case when s.suspect then 1 else k.most end for update skip locked
				) r
		) m
		where m.of_kind <= m.most and (not m.suspect or m.of_suspects = 1)
		order by m.rank, m.fresh, m.run_at, m.id limit $11
	))
	returning lane, suspect, rank, fresh, run_at, id
), due as materialized (
	select t.*, p.rank, p.fresh, p.suspect, c.attempts as cap_attempts, c.crashes as cap_crashes, c.interruptions as cap_interruptions,
		greatest(t.run + 1, floor(extract(epoch from now()) * 1000)::bigint) as new_run
	from picked p join @.tasks t on t.id = p.id
	join unnest($2::integer[], $12::integer[], $13::integer[], $14::integer[]) as c(lane, attempts, crashes, interruptions) on c.lane = t.lane
), leased as (
	insert into @.leases (task, run, worker, lane, runs, max_attempts, max_crashes, max_interruptions, suspect)
	select d.id, d.new_run, me.n, d.lane, d.runs + 1, d.cap_attempts, d.cap_crashes, d.cap_interruptions, d.suspect from due d, me
)
select d.id, d.lane, d.key, d.payload, d.priority, 'running', d.reason, d.error, d.created, now(), d.run_at, now(),
	d.new_run, d.runs + 1, $1, d.attempts, d.interruptions, d.crashes, d.crash_streak, d.interrupt_streak,
	d.cap_attempts, d.cap_crashes, d.cap_interruptions, d.checkpoint, d.fraction, d.message, null::bytea
from me left join due d on true
order by d.rank, d.fresh, d.run_at, d.id`

// lookSQL says whether a worker may claim, whether there is something to claim, and in how many
// microseconds the next delay runs out. It writes nothing, and reads a handful of pages.
const lookSQL = `
select exists (select 1 from @.workers where id = $1 and not dead),
	exists (select 1 from unnest($2::integer[]) as k(lane)
		join @.lanes n on n.n = k.lane and not exists (select 1 from @.paused p where p.queue = n.queue),
		unnest($3::boolean[]) as s(suspect),
		lateral (select 1 from @.ready q where q.lane = k.lane and q.suspect = s.suspect limit 1) r),
	coalesce((select floor(extract(epoch from min(run_at) - now()) * 1000000)::bigint from @.delayed), $4)`

// promoteSQL moves tasks whose time has come to those that can be claimed.
const promoteSQL = `
with due as (
	delete from @.delayed where ctid = any (array(
		select ctid from @.delayed where run_at <= now() order by run_at, id limit 1000 for update skip locked
	))
	returning lane, suspect, rank, fresh, run_at, id
)
insert into @.ready (lane, suspect, rank, fresh, run_at, id) select lane, suspect, rank, fresh, run_at, id from due`

// claimer remembers whether it is worth while to claim without a look, and to look at all.
type claimer struct {
	mu       sync.Mutex
	busy     bool
	promoted time.Time
	news     uint64 // how often there was something
	quiet    string // who looked and found nothing
	until    time.Time
	bounds   map[int32]bound // where to begin, while claims are slow
	full     time.Time       // when a claim began at the front
}

// bound is a place in a lane.
type bound struct {
	rank  int64
	fresh bool
	runAt time.Time
	id    [16]byte
}

const (
	// slowClaim, and slowRow for each task, is how long a claim takes that has to step over what is
	// left of earlier ones: while somebody's old snapshot keeps the server from clearing it away,
	// there can be hundreds of thousands. From then on claims begin where the one before ended,
	// unless something has come that may stand before that place.
	slowClaim = 15 * time.Millisecond
	slowRow   = 150 * time.Microsecond
	// fullEvery is how often they begin at the front all the same: for how long a task of a higher
	// priority may then go unseen.
	fullEvery = time.Second
)

// from returns the place in a lane where a claim begins.
func (c *claimer) from(n int32) bound {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.bounds[n]; ok && time.Since(c.full) < fullEvery {
		return b
	}
	return bound{rank: everything, runAt: longAgo}
}

var longAgo = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)

// early says that something has come that may stand before the bounds: everything but new tasks of
// a rank that no bound has reached.
func (c *claimer) early(rank int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.bounds {
		if rank < b.rank {
			c.bounds = nil
			return
		}
	}
}

// everything is a rank before all others.
const everything = math.MinInt64

// took records a claim: how long it took for how many tasks, and the last place in each lane.
func (c *claimer) took(d time.Duration, tasks int, last map[int32]bound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.full) >= fullEvery {
		c.bounds, c.full = nil, time.Now()
	}
	if d < slowClaim+time.Duration(tasks)*slowRow && c.bounds == nil {
		return
	}
	if c.bounds == nil {
		c.bounds = make(map[int32]bound)
	}
	maps.Copy(c.bounds, last)
	if len(last) == 0 {
		c.bounds = nil
	}
}

// quietFor is for how long a look that found nothing stands, unless there is news: an announcement
// is lost with the process that was to make it.
const quietFor = time.Second

// found says that there is something.
func (c *claimer) found() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.quiet = true, ""
	c.news++
}

// isQuiet says whether this claimer has just looked and found nothing. news is for hush.
func (c *claimer) isQuiet(who string) (quiet bool, news uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet == who && time.Now().Before(c.until), c.news
}

// hush says that a claimer looked and found nothing, unless there has been news since.
func (c *claimer) hush(who string, news uint64, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.news == news {
		c.busy, c.quiet, c.until = false, who, time.Now().Add(min(next, quietFor))
	}
}

func (c *claimer) set(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// needsLook says whether a look comes first: when the last claim got nothing, and now and then, for
// the sake of delays that have run out.
func (c *claimer) needsLook() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && time.Since(c.promoted) < 100*time.Millisecond {
		return false
	}
	c.promoted = time.Now()
	return true
}

// Claim implements task.Store. It looks first when there was nothing the last time, and only when
// something has been announced or some time has gone by: an idle worker writes nothing, and asks
// little.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	var got []task.Task
	who := whoClaims(req)
	quiet, news := s.claimer.isQuiet(who)
	if quiet && s.line.listens() {
		return nil, s.usable(ctx)
	}
	err := s.call(ctx, func(ctx context.Context) error {
		r, err := s.resolve(ctx, req)
		if err != nil {
			return err
		}
		if s.claimer.needsLook() {
			some, err := s.look(ctx, req.Worker, who, r, news)
			if err != nil || !some {
				return err
			}
		}
		began := time.Now()
		rows, err := s.pool.Query(ctx, s.q.claim, r.args(req)...)
		if err != nil {
			return err
		}
		var last map[int32]bound
		got, last, err = s.collectClaimed(ctx, rows)
		if err == nil {
			s.claimer.set(len(got) > 0)
			s.claimer.took(time.Since(began), len(got), last)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// whoClaims names everything that makes a claim find other tasks than another one.
func whoClaims(req task.ClaimRequest) string {
	var b strings.Builder
	fmt.Fprint(&b, req.Worker, req.Suspect, req.Queues, req.Except)
	for _, k := range req.Kinds {
		b.WriteString(" " + k.Kind)
	}
	return b.String()
}

// resolved is a claim in terms of lanes.
type resolved struct {
	lanes         []int32
	kinds         []string
	most          []int64
	ranks         []int64
	fresh         []bool
	runAts        []time.Time
	ids           [][16]byte
	attempts      []int32
	crashes       []int32
	interruptions []int32
	suspects      []bool
}

func (s *Store) resolve(ctx context.Context, req task.ClaimRequest) (*resolved, error) {
	all, err := s.allLanes(ctx)
	if err != nil {
		return nil, err
	}
	r := &resolved{lanes: []int32{}, suspects: []bool{false}}
	if req.Suspect {
		r.suspects = append(r.suspects, true)
	}
	for _, k := range req.Kinds {
		most := min(k.Max, req.Max)
		if most <= 0 {
			continue
		}
		for l, n := range all {
			if l.kind != k.Kind || len(req.Queues) > 0 && !slices.Contains(req.Queues, l.queue) {
				continue
			}
			b := s.claimer.from(n)
			r.lanes, r.kinds, r.most = append(r.lanes, n), append(r.kinds, k.Kind), append(r.most, int64(most))
			r.ranks, r.fresh, r.runAts, r.ids = append(r.ranks, b.rank), append(r.fresh, b.fresh), append(r.runAts, b.runAt), append(r.ids, b.id)
			r.attempts, r.crashes = append(r.attempts, small(k.Caps.MaxAttempts)), append(r.crashes, small(k.Caps.MaxCrashes))
			r.interruptions = append(r.interruptions, small(k.Caps.MaxInterruptions))
		}
	}
	return r, nil
}

func (r *resolved) args(req task.ClaimRequest) []any {
	except := make([][16]byte, 0, len(req.Except))
	for _, id := range req.Except {
		if key, ok := parseID(id); ok {
			except = append(except, key)
		}
	}
	return []any{req.Worker, r.lanes, r.kinds, r.most, r.ranks, r.fresh, r.runAts, r.ids, r.suspects, except,
		int64(max(req.Max, 0)), r.attempts, r.crashes, r.interruptions}
}

// look says whether a claim is worth while, and promotes what has become due.
func (s *Store) look(ctx context.Context, worker, who string, r *resolved, news uint64) (some bool, err error) {
	var (
		registered, ready bool
		next              int64
	)
	if err := s.pool.QueryRow(ctx, s.q.look, worker, r.lanes, r.suspects, quietFor.Microseconds()).Scan(&registered, &ready, &next); err != nil {
		return false, err
	}
	if !registered {
		return false, task.ErrWorkerGone
	}
	due := next <= 0
	if !ready && !due {
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

// collectClaimed reads the rows of a claim, and says where in each lane it ended. No row: the worker
// is not registered. A row of nulls: it is, and there was nothing.
func (s *Store) collectClaimed(ctx context.Context, rows pgx.Rows) ([]task.Task, map[int32]bound, error) {
	defer rows.Close()
	var (
		got   []task.Task
		lanes []int32
		known bool
		last  = make(map[int32]bound)
	)
	for rows.Next() {
		known = true
		if rows.RawValues()[0] == nil {
			continue
		}
		t, id, n, err := scanTask(rows)
		if err != nil {
			return nil, nil, err
		}
		if !t.Suspect() {
			last[n] = bound{rank: ^int64(t.Priority), fresh: t.Reason == "", runAt: t.RunAt, id: id}
		}
		got, lanes = append(got, t), append(lanes, n)
	}
	rows.Close() // before the lanes, which may need the connection
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	if !known {
		return nil, nil, task.ErrWorkerGone
	}
	return got, last, s.nameLanes(ctx, got, lanes)
}
