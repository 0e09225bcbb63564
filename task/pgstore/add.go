package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// inlinePayload is the size in bytes up to which a payload is also stored in ready, so that a claim
// does not have to read tasks. A task with meta is the exception: a claim has to read its row of
// tasks anyway.
const inlinePayload = 256

// newTask is a new task with its id in bytes and its place in the call.
type newTask struct {
	*task.NewTask
	id    [16]byte
	place int
}

// Add implements task.Store.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	added := make([]task.AddResult, len(tasks))
	if len(tasks) == 0 {
		return added, nil
	}
	news, err := newTasks(tasks)
	if err != nil {
		return nil, s.wrap(ctx, ctx, err)
	}
	if hasKeys(tasks) { // the task that holds a key may have expired
		if err := s.expireDue(ctx, expireEvery); err != nil {
			return nil, err
		}
	}
	if err := s.add(ctx, news, added); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(added, changed) {
		s.claimable(firstPriority(tasks))
	}
	return added, nil
}

// changed reports whether a new task was recorded, or has replaced another one.
func changed(a task.AddResult) bool {
	return a.Outcome == task.OutcomeReplaced || a.Outcome == task.OutcomeAdded && !a.Busy && !a.Conflict
}

// add records tasks in one statement.
func (s *Store) add(ctx context.Context, news []newTask, added []task.AddResult) error {
	var answer addAnswer
	err := s.once(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.q.Add, addArgs(news)...).Scan(answer.columns()...)
	})
	if err == nil {
		answer.fill(news, added)
	}
	return err
}

// newTasks reads the ids of new tasks, and sorts the tasks by id, so that two calls with the same
// ids cannot deadlock.
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

// firstPriority returns the sort_priority of the most urgent of some tasks.
func firstPriority(tasks []task.NewTask) int64 {
	first := int64(math.MaxInt64)
	for i := range tasks {
		first = min(first, ^int64(tasks[i].Priority))
	}
	return first
}

// addArgs returns the arguments of the statement Add: columns with an element for each task, sorted
// by id, and the size up to which a payload is stored in ready too. Delays, the time that each task
// may wait for its first claim, and the time for which a key is held are in microseconds.
func addArgs(news []newTask) []any {
	n := len(news)
	var (
		ids           = make([][16]byte, n)
		kinds, queues = make([]string, n), make([]string, n)
		routes        = make([]int64, n)
		payloads      = make([][]byte, n)
		numbers       = make(routeNumbers)
		keys, metas   []*string
		delays, until []int64
		keeps         []int64
		priorities    []int32
		replacing     []int32
	)
	for i, t := range news {
		ids[i], kinds[i], queues[i], routes[i], payloads[i] = t.id, t.Kind, t.Queue, numbers.of(route{kind: t.Kind, queue: t.Queue}), t.Payload
		if t.Payload == nil {
			payloads[i] = []byte{} // an empty payload is not null
		}
		if t.Key != "" {
			setColumn(&keys, i, n, &t.Key, nil)
		}
		if t.KeyFor > 0 {
			setColumn(&keeps, i, n, t.KeyFor.Microseconds(), 0)
		}
		if t.OnConflict == task.Replace {
			setColumn(&replacing, i, n, 1, 0)
		}
		if len(t.Meta) > 0 {
			meta := storekit.FormatMeta(t.Meta)
			setColumn(&metas, i, n, &meta, nil)
		}
		if t.Delay != 0 {
			setColumn(&delays, i, n, t.Delay.Microseconds(), 0)
		}
		if t.StartBefore > 0 {
			setColumn(&until, i, n, max(t.StartBefore.Microseconds(), 1), 0)
		}
		if t.Priority != 0 {
			setColumn(&priorities, i, n, clampInt32(t.Priority), 0)
		}
	}
	return []any{ids, kinds, queues, keys, routes, priorities, delays, payloads, metas, until, inlinePayload, keeps, replacing, placesOf(news, keys)}
}

// placesOf returns the places of new tasks in their call if some have keys and the call had another
// order; otherwise null.
func placesOf(news []newTask, keys []*string) []int32 {
	inOrder := func(a, b newTask) int { return cmp.Compare(a.place, b.place) }
	if keys == nil || slices.IsSortedFunc(news, inOrder) {
		return nil
	}
	places := make([]int32, len(news))
	for i, t := range news {
		places[i] = int32(t.place)
	}
	return places
}

// addAnswer is the answer of the statement Add: the tasks that it left out.
type addAnswer struct {
	places                            []int32 // in the statement's lists, from 1
	holders                           []string
	existed, conflict, busy, replaced []bool
}

func (a *addAnswer) columns() []any {
	return []any{&a.places, &a.holders, &a.existed, &a.conflict, &a.busy, &a.replaced}
}

// fill sets the outcome for each task.
func (a *addAnswer) fill(news []newTask, added []task.AddResult) {
	for _, t := range news {
		added[t.place] = task.AddResult{ID: t.ID}
	}
	for i, place := range a.places {
		t := news[place-1]
		out := &added[t.place]
		switch {
		case a.conflict[i]:
			out.Conflict = true
		case a.existed[i]:
			out.Outcome = task.OutcomeExisting
		// Without a holder: the key was held, and has just become free.
		case a.busy[i] || a.holders[i] == "":
			out.Busy = true
		case a.replaced[i]:
			out.ID, out.Outcome = a.holders[i], task.OutcomeReplaced
		case t.OnConflict == task.Discard:
			out.ID, out.Outcome = a.holders[i], task.OutcomeDiscarded
		default:
			out.ID, out.Outcome = a.holders[i], task.OutcomeExisting
		}
	}
}
