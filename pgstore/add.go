package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

const addSQL = `
with added as (
	insert into @.tasks (id, kind, payload, priority, status, created, since, run_at)
	select id, kind, payload, priority, 'queued', now(), now(), now() + delay * interval '1 microsecond'
	from unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[]) as n(id, kind, payload, priority, delay)
	on conflict (id) do nothing
	returning id, kind, priority, run_at
), soon as (
	insert into @.ready (kind, rank, fresh, run_at, id)
	select kind, ~priority, true, run_at, id from added where run_at <= now()
), later as (
	insert into @.delayed (kind, rank, fresh, run_at, id)
	select kind, ~priority, true, run_at, id from added where run_at > now()
)
select id from added`

// Add implements task.Store: one statement for all of them, in the order of their ids, so that two
// calls with the same ids do not wait for each other in a circle.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]bool, error) {
	if len(tasks) == 0 {
		return nil, s.usable(ctx)
	}
	var made map[[16]byte]bool
	keys := make([][16]byte, len(tasks))
	err := s.call(ctx, func(ctx context.Context) error {
		for i, n := range tasks {
			var err error
			if keys[i], err = mustID(n.ID); err != nil {
				return err
			}
		}
		rows, err := s.pool.Query(ctx, s.q.add, addArgs(tasks, keys)...)
		if err != nil {
			return err
		}
		made, err = collectIDs(rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	added := make([]bool, len(tasks))
	for i, key := range keys {
		added[i] = made[key]
		delete(made, key) // the first one, if an id comes twice
	}
	s.claimable()
	return added, nil
}

func addArgs(tasks []task.NewTask, keys [][16]byte) []any {
	order := make([]int, len(tasks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Or(bytes.Compare(keys[a][:], keys[b][:]), cmp.Compare(a, b)) })
	var (
		ids        = make([][16]byte, len(tasks))
		kinds      = make([]string, len(tasks))
		payloads   = make([][]byte, len(tasks))
		priorities = make([]int64, len(tasks))
		delays     = make([]int64, len(tasks))
	)
	for to, from := range order {
		n := tasks[from]
		ids[to], kinds[to], payloads[to] = keys[from], n.Kind, n.Payload
		if n.Payload == nil {
			payloads[to] = []byte{} // a payload of nothing is no null
		}
		priorities[to], delays[to] = int64(n.Priority), n.Delay.Microseconds()
	}
	return []any{ids, kinds, payloads, priorities, delays}
}

func collectIDs(rows pgx.Rows) (map[[16]byte]bool, error) {
	ids := make(map[[16]byte]bool)
	var id [16]byte
	_, err := pgx.ForEachRow(rows, []any{&id}, func() error { ids[id] = true; return nil })
	return ids, err
}

// announcements tells other processes that there may be something to claim: in a transaction of its
// own, since a notification serialises the commits of the whole database, and one for many changes.
func (s *Store) announcements() {
	for {
		select {
		case <-s.announce:
			s.tell()
		case <-s.life.Done():
			select {
			case <-s.announce:
				s.tell() // who enqueues and leaves wants to be heard
			default:
			}
			return
		}
	}
}
