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
	after, err := s.after(q.After)
	if err != nil {
		return nil, err
	}
	var found []*task.Task
	for _, t := range s.tasks {
		if len(q.IDs) > 0 && !slices.Contains(q.IDs, t.ID) ||
			q.Status != "" && t.Status != q.Status ||
			q.Kind != "" && t.Kind != q.Kind ||
			q.Queue != "" && t.Queue != q.Queue ||
			q.Key != "" && t.Key != q.Key ||
			!storekit.HasMeta(t.Meta, q.Meta) ||
			after != nil && newestFirst(t, after) <= 0 {
			continue
		}
		found = append(found, t)
	}
	slices.SortFunc(found, newestFirst)
	found = found[:min(len(found), cmp.Or(q.Limit, 100))]
	copies := make([]task.Task, len(found))
	for i, t := range found {
		copies[i] = clone(t)
	}
	return copies, nil
}

// newestFirst is the order of rule 18.
func newestFirst(a, b *task.Task) int {
	return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
}

// after returns the task behind which a listing continues, or one that stands in for it when it is
// gone, and nil for a listing from the start.
func (s *Store) after(id string) (*task.Task, error) {
	if id == "" {
		return nil, nil
	}
	if t, ok := s.tasks[id]; ok {
		return t, nil
	}
	created, ok := storekit.TimeOf(id)
	if !ok {
		return nil, fmt.Errorf("%w: %.80q, behind which the listing was to continue: start it again", task.ErrNotFound, id)
	}
	return &task.Task{ID: id, Created: created}, nil
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
