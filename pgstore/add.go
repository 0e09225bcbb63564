package pgstore

import (
	"bytes"
	"context"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

const (
	// inlinePayload is the length up to which a payload is in ready too, in bytes, so that a claim need
	// not read it.
	inlinePayload = 256
	// addPatience bounds the wait for an open transaction that has the id of a new task, in
	// milliseconds.
	addPatience = "250"
)

// newTask is a new task with its id in bytes and its place in the call.
type newTask struct {
	*task.NewTask
	id    [16]byte
	place int
}

// Add implements task.Store.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]task.Added, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	added := make([]task.Added, len(tasks))
	if len(tasks) == 0 {
		return added, nil
	}
	news, err := newTasks(tasks)
	if err != nil {
		return nil, s.wrap(ctx, ctx, err)
	}
	if err := s.add(ctx, news, added); err != nil {
		return nil, err
	}
	s.claimable(firstPriority(tasks))
	return added, nil
}

// add records tasks in one statement. An id that an open transaction has holds up the statement, which
// is then halved, until only the tasks are left out that cannot be added now.
func (s *Store) add(ctx context.Context, news []newTask, added []task.Added) error {
	err := s.once(ctx, func(ctx context.Context) error {
		var (
			batch  pgx.Batch
			answer addAnswer
		)
		batch.Queue(`select set_config('lock_timeout', $1, true)`, addPatience)
		batch.Queue(s.q.Add, addArgs(news)...).QueryRow(func(row pgx.Row) error { return answer.read(row) })
		if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		answer.fill(news, added)
		return nil
	})
	if !isLockTimeout(err) {
		return err
	}
	if len(news) == 1 {
		added[news[0].place] = task.Added{ID: news[0].ID, Busy: true}
		return nil
	}
	half := len(news) / 2
	if err := s.add(ctx, news[:half], added); err != nil {
		return err
	}
	return s.add(ctx, news[half:], added)
}

// newTasks reads the ids of new tasks, and sorts the tasks by them, so that two calls with the same ids
// do not wait for each other in a circle.
func newTasks(tasks []task.NewTask) ([]newTask, error) {
	news := make([]newTask, len(tasks))
	for i := range tasks {
		id, err := mustID(tasks[i].ID)
		if err != nil {
			return nil, err
		}
		news[i] = newTask{NewTask: &tasks[i], id: id, place: i}
	}
	byID := func(a, b newTask) int { return bytes.Compare(a.id[:], b.id[:]) }
	if !slices.IsSortedFunc(news, byID) {
		slices.SortStableFunc(news, byID)
	}
	return news, nil
}

// firstPriority is that of the most urgent of some tasks, as they are sorted.
func firstPriority(tasks []task.NewTask) int64 {
	first := int64(math.MaxInt64)
	for i := range tasks {
		first = min(first, ^int64(tasks[i].Priority))
	}
	return first
}

// addArgs are the arguments of the statement Add.
func addArgs(news []newTask) []any {
	n := len(news)
	var (
		ids            = make([][16]byte, n)
		kinds, queues  = make([]string, n), make([]string, n)
		keys           = make([]*string, n)
		routes, delays = make([]int64, n), make([]int64, n)
		priorities     = make([]int32, n)
		payloads       = make([][]byte, n)
		numbers        = make(routeNumbers)
		keyed          bool
	)
	for i, t := range news {
		ids[i], kinds[i], queues[i], routes[i] = t.id, t.Kind, t.Queue, numbers.of(route{kind: t.Kind, queue: t.Queue})
		priorities[i], delays[i], payloads[i] = clampInt32(t.Priority), t.Delay.Microseconds(), t.Payload
		if t.Payload == nil {
			payloads[i] = []byte{} // a payload of nothing is no null
		}
		if t.Key != "" {
			keys[i], keyed = &t.Key, true
		}
	}
	return []any{ids, kinds, queues, keys, routes, priorities, delays, payloads, inlinePayload, keyed}
}

// addAnswer is the answer of the statement Add.
type addAnswer struct {
	added   [][16]byte // nil: all
	places  []int64    // of the tasks with keys, from 1
	holders []*[16]byte
	existed []bool
}

func (a *addAnswer) read(row pgx.Row) error {
	return row.Scan(&a.added, &a.places, &a.holders, &a.existed)
}

// fill says of each task what became of it.
func (a *addAnswer) fill(news []newTask, added []task.Added) {
	var made map[[16]byte]bool
	if a.added != nil {
		made = make(map[[16]byte]bool, len(a.added))
		for _, id := range a.added {
			made[id] = true
		}
	}
	keyed := make(map[int]int, len(a.places))
	for i, place := range a.places {
		keyed[int(place)-1] = i
	}
	for i, t := range news {
		out := &added[t.place]
		*out = task.Added{ID: t.ID}
		if a.added == nil {
			continue
		}
		if made[t.id] {
			delete(made, t.id) // the first one, if an id comes twice
			continue
		}
		out.Existed = true
		if k, ok := keyed[i]; ok && !a.existed[k] {
			if holder := a.holders[k]; holder != nil {
				out.ID = storekit.FormatID(*holder)
			} else {
				out.Existed, out.Busy = false, true
			}
		}
	}
}
