package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Find implements task.Store.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	after, from, err := s.after(q)
	if err != nil {
		return nil, err
	}
	indexed, looked := indexedFields(q)
	var seen []*task.Task
	for _, t := range s.tasks {
		if indexed.Admits(*t) && (!from || newestFirst(q.PositionOf(*t), after) > 0) {
			seen = append(seen, t)
		}
	}
	slices.SortFunc(seen, func(a, b *task.Task) int { return newestFirst(q.PositionOf(*a), q.PositionOf(*b)) })
	var found []task.Task
	for i, t := range seen {
		if len(found) == cmp.Or(q.Limit, 100) {
			break
		}
		if looked && i == q.Looks() {
			return found, &task.MoreError{After: q.PositionOf(*seen[i-1]).String()}
		}
		if q.Admits(*t) {
			found = append(found, clone(t))
		}
	}
	return found, nil
}

// indexedFields returns a query without the fields for which tasks are read one by one, and whether
// it has such fields.
func indexedFields(q task.Query) (task.Query, bool) {
	i := task.Query{IDs: q.IDs, Status: q.Status, Kind: q.Kind, Queue: q.Queue, Key: q.Key,
		Statuses: q.Statuses, Kinds: q.Kinds, Queues: q.Queues, Created: q.Created, Order: q.Order}
	others := len(q.Reasons) > 0 || q.Worker != "" || q.ErrorText != "" || !q.Started.IsZero() || len(q.Meta) > 0
	if q.Order == task.OrderFinished {
		i.Finished = q.Finished
	} else {
		others = others || !q.Finished.IsZero()
	}
	return i, others && len(q.IDs) == 0
}

// newestFirst is the order of rules 18 and 52.
func newestFirst(a, b task.Position) int {
	return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID))
}

// after returns the place behind which a listing continues, and whether there is one.
func (s *Store) after(q task.Query) (p task.Position, ok bool, err error) {
	if p, ok, err = q.Start(); err != nil || !ok || !p.At.IsZero() {
		return p, ok, err
	}
	if t, ok := s.tasks[p.ID]; ok {
		return q.PositionOf(*t), true, nil
	}
	if p.At, ok = storekit.TimeOf(p.ID); !ok {
		return p, false, fmt.Errorf("%w: %.80q, behind which the listing was to continue: start it again", task.ErrNotFound, p.ID)
	}
	return p, true, nil
}

// Commands implements task.Store.
func (s *Store) Commands(ctx context.Context, id string) ([]task.CommandRecord, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if _, ok := s.tasks[id]; !ok {
		return nil, task.ErrNotFound
	}
	return slices.Clone(s.done[id]), nil
}

// History implements task.Store.
func (s *Store) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if _, ok := s.tasks[id]; !ok {
		return nil, task.ErrNotFound
	}
	return slices.Clone(s.history[id]), nil
}

// Log implements task.Store.
func (s *Store) Log(ctx context.Context, id string) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if _, ok := s.tasks[id]; !ok {
		return nil, task.ErrNotFound
	}
	return bytes.Clone(s.logs[id]), nil
}

// Count implements task.Store.
func (s *Store) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	if err := s.enter(ctx); err != nil {
		return task.Counts{}, err
	}
	defer s.mu.Unlock()
	tally := storekit.NewTally(q)
	numbers := make(map[task.Count]int)
	waiting, running := 0, 0
	for _, t := range s.tasks {
		numbers[task.Count{Queue: t.Queue, Kind: t.Kind, Status: t.Status}]++
		switch {
		case !t.Suspect():
		case t.Status == task.StatusRunning:
			running++
		default:
			waiting++
		}
	}
	for c, n := range numbers {
		c.N = n
		tally.Add(c)
	}
	tally.Suspects(waiting, running)
	return tally.Counts(slices.Collect(maps.Keys(s.paused))), nil
}

// Prune implements task.Store.
func (s *Store) Prune(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
	if err := s.enter(ctx); err != nil {
		return task.PruneReply{}, err
	}
	defer s.mu.Unlock()
	now := time.Now()
	if !req.Clock.IsZero() && req.Clock.Before(now) {
		now = req.Clock
	}
	s.forgetKeys(now)
	s.forgetSets(now)
	var old []*task.Task
	for _, t := range s.tasks {
		over := !req.KeepOthers && !t.Finished.After(now.Add(-req.Age))
		if expires, own := s.expires[t.ID]; own {
			over = !expires.IsZero() && !expires.After(now)
		}
		if t.Status.Ended() && over {
			old = append(old, t)
		}
	}
	slices.SortFunc(old, func(a, b *task.Task) int {
		return cmp.Or(a.Finished.Compare(b.Finished), cmp.Compare(a.ID, b.ID))
	})
	var pruned task.PruneReply
	for _, t := range old[:min(len(old), req.Max)] {
		pruned.Tasks++
		pruned.Next = t.ID
		s.remove(t.ID)
	}
	if pruned.Tasks == len(old) {
		pruned.Next = "" // otherwise any text: the next call finds the others without it
	}
	return pruned, nil
}
