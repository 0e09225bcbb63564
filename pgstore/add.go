package pgstore

import (
	"bytes"

	"context"
	"errors"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// carried is the length up to which a payload stands in ready too, in bytes, so that a claim need not look
// for it: of a task that is claimable at once and has nothing else that its first run must know.
const carried = 256

const addSQL = `
with added as (
	insert into @.tasks (id, lane, payload, priority, run_at)
	select id, lane, payload, priority, now() + delay * interval '1 microsecond'
	from unnest($1::uuid[], $2::integer[], $3::bytea[], $4::bigint[], $5::bigint[]) as n(id, lane, payload, priority, delay)
	on conflict (id) do nothing
	returning id, lane, priority, run_at, payload
), soon as (
	insert into @.ready (lane, suspect, rank, fresh, run_at, id, payload)
	select lane, false, ~priority, true, run_at, id, case when length(payload) <= $6 then payload end from added where run_at <= now()
), later as (
	insert into @.delayed (lane, suspect, rank, fresh, run_at, id)
	select lane, false, ~priority, true, run_at, id from added where run_at > now()
)
select id from added`

// Add implements task.Store: one transaction for all of them, in the order of their ids, so that two
// calls with the same ids do not wait for each other in a circle.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]task.Added, error) {
	if len(tasks) == 0 {
		return nil, s.usable(ctx)
	}
	if slices.ContainsFunc(tasks, func(n task.NewTask) bool { return n.Key != "" }) {
		return s.addKeyed(ctx, tasks)
	}
	var (
		made map[[16]byte]bool // nil: all
		news []fresh
	)
	err := s.once(ctx, func(ctx context.Context) (err error) {
		made = nil
		if news, err = s.prepare(ctx, tasks, s.numberOf); err != nil {
			return err
		}
		if len(tasks) >= copyFrom && !slices.ContainsFunc(tasks, func(n task.NewTask) bool { return n.Delay > 0 }) {
			if ok, err := s.addByCopy(ctx, sorted(news)); ok || err != nil {
				return err
			}
		}
		rows, err := s.pool.Query(ctx, s.q.add, addArgs(sorted(news))...)
		if err != nil {
			return err
		}
		made, err = collectIDs(rows, len(news))
		return err
	})
	if err != nil {
		return nil, err
	}
	added := make([]task.Added, len(tasks))
	for i, n := range news {
		added[i] = task.Added{ID: n.ID}
		if made != nil {
			added[i].Existed = !made[n.id]
			delete(made, n.id) // the first one, if an id comes twice
		}
	}
	s.claimable(firstRank(tasks))
	return added, nil
}

// prepare finds the tasks' keys, and their lanes with number.
func (s *Store) prepare(ctx context.Context, tasks []task.NewTask, number func(context.Context, lane) (int32, error)) ([]fresh, error) {
	news := make([]fresh, len(tasks))
	for i, n := range tasks {
		if i > 0 && n.Kind == tasks[i-1].Kind && n.Queue == tasks[i-1].Queue {
			news[i].lane = news[i-1].lane
		} else {
			var err error
			if news[i].lane, err = number(ctx, lane{kind: n.Kind, queue: n.Queue}); err != nil {
				return nil, err
			}
		}
		id, err := mustID(n.ID)
		if err != nil {
			return nil, err
		}
		news[i].NewTask, news[i].id = n, id
		if n.Payload == nil {
			news[i].Payload = []byte{} // a payload of nothing is no null
		}
	}
	return news, nil
}

// firstRank is that of the most urgent of some tasks.
func firstRank(tasks []task.NewTask) int64 {
	rank := int64(math.MaxInt64)
	for _, n := range tasks {
		rank = min(rank, ^int64(n.Priority))
	}
	return rank
}

func sorted(news []fresh) []fresh {
	byID := func(a, b fresh) int { return bytes.Compare(a.id[:], b.id[:]) }
	if slices.IsSortedFunc(news, byID) {
		return news
	}
	news = slices.Clone(news)
	slices.SortStableFunc(news, byID)
	return news
}

func addArgs(news []fresh) []any {
	var (
		ids        = make([][16]byte, len(news))
		lanes      = make([]int32, len(news))
		payloads   = make([][]byte, len(news))
		priorities = make([]int64, len(news))
		delays     = make([]int64, len(news))
	)
	for i, n := range news {
		ids[i], lanes[i], payloads[i] = n.id, n.lane, n.Payload
		priorities[i], delays[i] = int64(n.Priority), n.Delay.Microseconds()
	}
	return []any{ids, lanes, payloads, priorities, delays, carried}
}

// addKeyed records tasks of which some have keys, in one transaction. It does not wait long for
// somebody else's.
func (s *Store) addKeyed(ctx context.Context, tasks []task.NewTask) ([]task.Added, error) {
	var added []task.Added
	err := s.once(ctx, func(ctx context.Context) error {
		// Before the transaction: who has a connection of the pool must not wait for another one.
		news, err := s.prepare(ctx, tasks, s.numberOf)
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			added, err = s.addOneByOne(ctx, pgxTx{tx}, news)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	s.claimable(firstRank(tasks))
	return added, nil
}

// keyPatience bounds the wait for somebody else's transaction that has a key, in milliseconds.
const keyPatience = "500"

const (
	existsSQL  = `select exists (select 1 from @.tasks where id = $1::uuid)`
	takeKeySQL = `insert into @.keys (kind, key, task) values ($1, $2, $3::uuid) on conflict (kind, key) do nothing`
	// The row is locked, so that it is still the holder's when the answer goes out.
	holderSQL = `select task::text from @.keys where kind = $1 and key = $2 for key share`
	addOneSQL = `insert into @.tasks (id, lane, payload, priority, key, run_at)
		values ($1::uuid, $2, $3, $4, $5, now() + $6 * interval '1 microsecond') on conflict (id) do nothing`
	makeReadySQL = `
		with t as (select lane, crash_streak >= 2 as suspect, ~priority as rank, status = 'queued' as fresh, run_at, id, run, runs,
			case when key = '' and run_at = created and length(payload) <= $2 then payload end as payload from @.rows where id = $1::uuid),
		soon as (insert into @.ready (lane, suspect, rank, fresh, run_at, id, run, runs, payload) select * from t where run_at <= now())
		insert into @.delayed (lane, suspect, rank, fresh, run_at, id, run, runs) select lane, suspect, rank, fresh, run_at, id, run, runs from t where run_at > now()`
)

// addOneByOne records tasks as a part of a transaction.
func (s *Store) addOneByOne(ctx context.Context, tx execer, news []fresh) (added []task.Added, err error) {
	added = make([]task.Added, len(news))
	for i, n := range news {
		if added[i], err = s.addOne(ctx, tx, n); err != nil {
			return nil, err
		}
	}
	return added, nil
}

func (s *Store) addOne(ctx context.Context, tx execer, n fresh) (task.Added, error) {
	existed := task.Added{ID: n.ID, Existed: true}
	var exists bool
	if err := tx.row(ctx, s.q.exists, []any{n.ID}, &exists); err != nil || exists {
		return existed, err
	}
	if n.Key != "" {
		holder, err := s.takeKey(ctx, tx, n)
		if err != nil || holder != "" {
			return task.Added{ID: holder, Existed: true}, err
		}
	}
	made, err := tx.exec(ctx, s.q.addOne, n.ID, n.lane, n.Payload, int64(n.Priority), n.Key, n.Delay.Microseconds())
	if err != nil || made == 0 {
		return existed, err
	}
	_, err = tx.exec(ctx, s.q.makeReady, n.ID, carried)
	return task.Added{ID: n.ID}, err
}

// takeKey returns the task that has the key, or nothing if it is ours now.
func (s *Store) takeKey(ctx context.Context, tx execer, n fresh) (holder string, err error) {
	var patience string
	if err := tx.row(ctx, `select current_setting('lock_timeout')`, nil, &patience); err != nil {
		return "", err
	}
	if _, err := tx.exec(ctx, `select set_config('lock_timeout', $1, true)`, keyPatience); err != nil {
		return "", err
	}
	for {
		made, err := tx.exec(ctx, s.q.takeKey, n.Kind, n.Key, n.ID)
		if err != nil {
			return "", keyBusy(err)
		}
		if made == 0 {
			if err := tx.row(ctx, s.q.holder, []any{n.Kind, n.Key}, &holder); errors.Is(err, errNoRow) {
				continue // it has just ended
			} else if err != nil {
				return "", keyBusy(err)
			}
		}
		_, err = tx.exec(ctx, `select set_config('lock_timeout', $1, true)`, patience)
		return holder, err
	}
}

// collectIDs reads a column of about n ids.
func collectIDs(rows pgx.Rows, n int) (map[[16]byte]bool, error) {
	ids := make(map[[16]byte]bool, n)
	var id [16]byte
	_, err := pgx.ForEachRow(rows, []any{&id}, func() error { ids[id] = true; return nil })
	return ids, err
}
