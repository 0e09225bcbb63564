package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Steps implements task.Store.
func (s *Store) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if _, ok := s.tasks[id]; !ok {
		return nil, task.ErrNotFound
	}
	var all []task.StepRecord
	for _, rec := range s.steps[id] {
		rec.Body = bytes.Clone(rec.Body)
		all = append(all, rec)
	}
	slices.SortFunc(all, func(a, b task.StepRecord) int {
		// Those without a place come last.
		return cmp.Or(cmp.Compare(uint(a.Place-1), uint(b.Place-1)), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

func (s *Store) recordStep(id string, rec task.StepRecord) {
	if s.steps[id] == nil {
		s.steps[id] = make(map[string]task.StepRecord)
	}
	s.steps[id][rec.Name] = rec
}

// retrySteps implements rule 41.
func (s *Store) retrySteps(t *task.Task, cmd task.Command, now time.Time) {
	if cmd.FromStart {
		t.Checkpoint, t.Progress = nil, task.Progress{}
		delete(s.steps, t.ID)
	}
	for _, name := range cmd.SkipSteps {
		if s.steps[t.ID][name].State != task.StepDone {
			s.recordStep(t.ID, task.StepRecord{Name: name, State: task.StepSkipped, Saved: now})
		}
	}
}
