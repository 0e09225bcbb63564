package pgstore

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// claimSQL moves tasks from ready to leases. The worker's own row is locked first, in a mode that
// its beats do not mind: who marks a worker dead waits for its claims, and sees their leases.
const claimSQL = `
with me as materialized (
	select n from @.workers where id = $1 and not dead for key share
), picked as (
	delete from @.ready where ctid = any (array(
		select r.ctid
		from me, unnest($2::text[], $3::bigint[]) as k(kind, most), lateral (
			select q.ctid, q.rank, q.fresh, q.run_at, q.id from @.ready q where q.kind = k.kind
			order by q.rank, q.fresh, q.run_at, q.id limit k.most for update skip locked
		) r
		order by r.rank, r.fresh, r.run_at, r.id limit $4
	))
	returning rank, fresh, run_at, id
), due as materialized (
	select t.id, t.kind, t.payload, t.priority, t.status, t.reason, t.error, t.created, t.run_at, t.run, t.runs,
		t.attempts, t.interruptions, t.crashes, t.crash_streak, t.checkpoint, t.fraction, t.message, p.rank, p.fresh
	from picked p join @.tasks t on t.id = p.id
), leased as (
	insert into @.leases (task, run, started, worker, runs, max_attempts, max_crashes)
	select d.id, greatest(d.run + 1, floor(extract(epoch from now()) * 1000)::bigint), now(), me.n, d.runs + 1, k.attempts, k.crashes
	from due d, me, unnest($2::text[], $5::integer[], $6::integer[]) as k(kind, attempts, crashes) where k.kind = d.kind
	returning task, run, started, runs, max_attempts, max_crashes
)
select d.id, d.kind, d.payload, d.priority, 'running', d.reason, d.error, d.created, l.started, d.run_at, l.started,
	l.run, l.runs, $1, d.attempts, d.interruptions, d.crashes, d.crash_streak, l.max_attempts, l.max_crashes,
	d.checkpoint, d.fraction, d.message
from me left join (due d join leased l on l.task = d.id) on true
order by d.rank, d.fresh, d.run_at, d.id`

// lookSQL says whether a worker may claim, whether there is something to claim, and in how many
// microseconds the next delay runs out. It writes nothing, and reads a handful of pages.
const lookSQL = `
select exists (select 1 from @.workers where id = $1 and not dead),
	exists (select 1 from unnest($2::text[]) as k(kind), lateral (select 1 from @.ready q where q.kind = k.kind limit 1) r),
	coalesce((select floor(extract(epoch from min(run_at) - now()) * 1000000)::bigint from @.delayed), $3)`

// promoteSQL moves tasks whose time has come to those that can be claimed.
const promoteSQL = `
with due as (
	delete from @.delayed where ctid = any (array(
		select ctid from @.delayed where run_at <= now() order by run_at, id limit 1000 for update skip locked
	))
	returning kind, rank, fresh, run_at, id
)
insert into @.ready (kind, rank, fresh, run_at, id) select kind, rank, fresh, run_at, id from due`

// claimer remembers whether it is worth while to claim without a look, and to look at all.
type claimer struct {
	mu       sync.Mutex
	busy     bool
	promoted time.Time
	news     uint64 // how often there was something
	quiet    string // who looked and found nothing
	until    time.Time
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
	var (
		got   []task.Task
		kinds = make([]string, 0, len(req.Kinds))
		most  = make([]int64, 0, len(req.Kinds))
		caps  [2][]int32
	)
	for _, k := range req.Kinds {
		if n := min(k.Max, req.Max); n > 0 {
			kinds, most = append(kinds, k.Kind), append(most, int64(n))
			caps[0], caps[1] = append(caps[0], small(k.Caps.MaxAttempts)), append(caps[1], small(k.Caps.MaxCrashes))
		}
	}
	who := req.Worker + " " + strings.Join(kinds, " ")
	quiet, news := s.claimer.isQuiet(who)
	if quiet && s.line.listens() {
		return nil, s.usable(ctx)
	}
	err := s.call(ctx, func(ctx context.Context) error {
		if s.claimer.needsLook() {
			some, err := s.look(ctx, req.Worker, who, kinds, news)
			if err != nil || !some {
				return err
			}
		}
		rows, err := s.pool.Query(ctx, s.q.claim, req.Worker, kinds, most, int64(max(req.Max, 0)), caps[0], caps[1])
		if err != nil {
			return err
		}
		got, err = collectClaimed(rows)
		s.claimer.set(len(got) > 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// look says whether a claim is worth while, and promotes what has become due.
func (s *Store) look(ctx context.Context, worker, who string, kinds []string, news uint64) (some bool, err error) {
	var (
		registered, ready bool
		next              int64
	)
	if err := s.pool.QueryRow(ctx, s.q.look, worker, kinds, quietFor.Microseconds()).Scan(&registered, &ready, &next); err != nil {
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
		s.claimable() // not all of them need be of this worker's kinds
	}
	return true, nil
}

// collectClaimed reads the rows of a claim. No row: the worker is not registered. A row of nulls:
// it is, and there was nothing.
func collectClaimed(rows pgx.Rows) ([]task.Task, error) {
	defer rows.Close()
	var (
		got   []task.Task
		known bool
	)
	for rows.Next() {
		known = true
		if rows.RawValues()[0] == nil {
			continue
		}
		t, err := scanTask(rows)
		if err != nil {
			return nil, err
		}
		got = append(got, t)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if !known {
		return nil, task.ErrWorkerGone
	}
	return got, nil
}
