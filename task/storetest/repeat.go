package storetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// repeating is a store that makes every call twice that may be repeated, as a caller does that did
// not get the answer. The second answer must be what the rules promise for it, and the case goes on
// with the first.
//
// Two kinds of calls are not repeated: claims, which return something else each time (rule 31 finds
// what a lost answer had), and lines for a log, which may be there twice.
type repeating struct {
	task.Store
	tb testing.TB
}

// same complains unless a repeated call ends as the first one did.
func (s *repeating) same(method string, first, second error) {
	s.tb.Helper()
	if (first == nil) != (second == nil) || first != nil && !errors.Is(second, first) && !errors.Is(first, second) {
		s.tb.Errorf("%s answered %v, and the same call again %v", method, first, second)
	}
}

// Add implements task.Store.
func (s *repeating) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	s.tb.Helper()
	first, err := s.Store.Add(ctx, tasks)
	second, err2 := s.Store.Add(ctx, tasks)
	s.same("Add", err, err2)
	for i, a := range second {
		want := first[i]
		if want.Outcome == task.OutcomeAdded && !want.Conflict {
			want.Outcome = task.OutcomeExisting
		}
		if a != want {
			s.tb.Errorf("Add answered %+v, and the same call again %+v", first[i], a)
		}
	}
	return first, err
}

// Apply implements task.Store.
func (s *repeating) Apply(ctx context.Context, changes []task.Change) []error {
	s.tb.Helper()
	first := s.Store.Apply(ctx, changes)
	for i, c := range changes {
		if c.Status == task.StatusRunning && len(c.Log) > 0 {
			continue
		}
		again := s.Store.Apply(ctx, []task.Change{c})[0]
		if c.Reclaimed && first[i] == nil && errors.Is(again, task.ErrLeaseLost) {
			continue // a worker that takes over a run checks who has it now, and does not repeat
		}
		s.same("Apply", first[i], again)
	}
	return first
}

// Heartbeat implements task.Store.
func (s *repeating) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	s.tb.Helper()
	first, err := s.Store.Heartbeat(ctx, b)
	second, err2 := s.Store.Heartbeat(ctx, b)
	if b.State == task.WorkerStopped && err == nil && errors.Is(err2, task.ErrWorkerGone) {
		return first, nil // it has been removed
	}
	s.same("Heartbeat", err, err2)
	if !reflect.DeepEqual(first, second) {
		s.tb.Errorf("Heartbeat answered %+v, and the same beat again %+v", first, second)
	}
	return first, err
}

// Reclaim implements task.Store.
func (s *repeating) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	s.tb.Helper()
	first, err := s.Store.Reclaim(ctx, req)
	second, err2 := s.Store.Reclaim(ctx, req)
	s.same("Reclaim", err, err2)
	if first.Done != second.Done || !first.Done && (first.Evidence != second.Evidence || first.State != second.State ||
		first.Suspects != second.Suspects || first.Split != second.Split || !slices.Equal(ids(first.Tasks), ids(second.Tasks))) {
		s.tb.Errorf("Reclaim answered %+v, and the same call again %+v", first, second)
	}
	return first, err
}

// Control implements task.Store.
func (s *repeating) Control(ctx context.Context, cmd task.Command) error {
	s.tb.Helper()
	first := s.Store.Control(ctx, cmd)
	if cmd.Verb == task.VerbDelete && first == nil {
		s.same("Control delete", task.ErrNotFound, s.Store.Control(ctx, cmd))
		return nil
	}
	s.same("Control "+string(cmd.Verb), first, s.Store.Control(ctx, cmd))
	return first
}

// Prune implements task.Store.
func (s *repeating) Prune(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
	s.tb.Helper()
	first, err := s.Store.Prune(ctx, req)
	second, err2 := s.Store.Prune(ctx, req)
	s.same("Prune", err, err2)
	first.Tasks += second.Tasks // further ones
	return first, err
}

// PutSchedules implements task.Store.
func (s *repeating) PutSchedules(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error) {
	s.tb.Helper()
	first, err := s.Store.PutSchedules(ctx, put)
	second, err2 := s.Store.PutSchedules(ctx, put)
	s.same("PutSchedules", err, err2)
	if first.Generation != second.Generation {
		s.tb.Errorf("PutSchedules answered %+v, and the same call again %+v", first, second)
	}
	return first, err
}

// Tick implements task.Store.
func (s *repeating) Tick(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
	s.tb.Helper()
	first, err := s.Store.Tick(ctx, req)
	second, err2 := s.Store.Tick(ctx, req)
	s.same("Tick", err, err2)
	for i, r := range second {
		if r.Added != 0 || !req.Ticks[i].At.IsZero() && r.Made {
			s.tb.Errorf("Tick answered %+v, and the same call again %+v", first[i], r)
		}
	}
	return first, err
}
