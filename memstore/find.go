package memstore

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Find implements task.Store.
func (s *Store) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []*task.Task
	for _, t := range s.tasks {
		if len(q.IDs) > 0 && !slices.Contains(q.IDs, t.ID) ||
			q.Status != "" && t.Status != q.Status ||
			q.Kind != "" && t.Kind != q.Kind ||
			q.Queue != "" && t.Queue != q.Queue ||
			q.Key != "" && t.Key != q.Key ||
			q.After != "" && t.ID >= q.After {
			continue
		}
		found = append(found, t)
	}
	slices.SortFunc(found, func(a, b *task.Task) int { return cmp.Compare(b.ID, a.ID) })
	found = found[:min(len(found), cmp.Or(q.Limit, 100))]
	copies := make([]task.Task, len(found))
	for i, t := range found {
		copies[i] = clone(t)
	}
	return copies, nil
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
func (s *Store) Count(ctx context.Context) (task.Counts, error) {
	if err := s.enter(ctx); err != nil {
		return task.Counts{}, err
	}
	defer s.mu.Unlock()
	numbers := make(map[task.Count]int)
	for _, t := range s.tasks {
		numbers[task.Count{Queue: t.Queue, Kind: t.Kind, Status: t.Status}]++
	}
	counts := task.Counts{Paused: slices.Sorted(maps.Keys(s.paused))}
	for c, n := range numbers {
		c.N = n
		counts.Tasks = append(counts.Tasks, c)
	}
	task.SortCounts(counts.Tasks)
	return counts, nil
}

// Prune implements task.Store.
func (s *Store) Prune(ctx context.Context, req task.PruneRequest) (task.Pruned, error) {
	if err := s.enter(ctx); err != nil {
		return task.Pruned{}, err
	}
	defer s.mu.Unlock()
	var pruned task.Pruned
	before := time.Now().Add(-req.Age)
	ids := slices.Sorted(maps.Keys(s.tasks))
	looked := 0
	for _, id := range ids {
		t := s.tasks[id]
		if id <= req.After {
			continue
		}
		if looked == req.Max || t.Created.After(before) {
			break
		}
		looked++
		pruned.Next = id
		if t.Status.Ended() && !t.Finished.After(before) {
			pruned.Tasks++
			delete(s.tasks, id)
			delete(s.history, id)
			delete(s.logs, id)
		}
	}
	if looked < req.Max {
		pruned.Next = ""
	}
	return pruned, nil
}
