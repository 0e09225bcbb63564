package memstore

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// scheduleSet is a set with its schedules, by their names.
type scheduleSet struct {
	task.ScheduleSet
	schedules map[string]*schedule
	heard     time.Time // when a process of it was last heard of
}

// schedule is a schedule with the time at which it is due: that of its tick, or a later one.
type schedule struct {
	task.StoredSchedule
	due time.Time
}

// PutSchedules implements task.Store.
func (s *Store) PutSchedules(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error) {
	if err := s.enter(ctx); err != nil {
		return task.ScheduleSet{}, err
	}
	defer s.mu.Unlock()
	old := s.schedules[put.Name]
	if old == nil {
		old = &scheduleSet{}
	}
	if old.Generation != put.Was {
		return old.read(), nil
	}
	set := &scheduleSet{ScheduleSet: put.ScheduleSet, schedules: make(map[string]*schedule), heard: time.Now()}
	set.Former = slices.Clone(put.Former)
	for _, r := range put.Schedules {
		r.Template = bytes.Clone(r.Template)
		one := &schedule{task.StoredSchedule{Set: put.Name, ScheduleRecord: r}, r.Next}
		before := old.schedules[r.Name]
		if former := put.Renamed[r.Name]; before == nil && former != "" {
			before = old.schedules[former]
		}
		if before != nil {
			one.Paused, one.Last, one.LastTask = before.Paused, before.Last, before.LastTask
			if before.Timing == r.Timing && !before.Next.IsZero() && (r.Next.IsZero() || !before.Next.After(r.Next)) {
				one.Next, one.due = before.Next, before.due
			}
		}
		set.schedules[r.Name] = one
	}
	s.schedules[put.Name] = set
	return set.read(), nil
}

// read returns a copy of the set.
func (s *scheduleSet) read() task.ScheduleSet {
	set := s.ScheduleSet
	set.Former = slices.Clone(set.Former)
	return set
}

// Schedules implements task.Store.
func (s *Store) Schedules(ctx context.Context, q task.ScheduleQuery) ([]task.StoredSchedule, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []task.StoredSchedule
	for _, set := range s.schedules {
		for _, one := range set.schedules {
			after := cmp.Or(cmp.Compare(set.Name, q.AfterSet), cmp.Compare(one.Name, q.AfterName)) > 0
			if (q.Set == "" || q.Set == set.Name) && (q.Name == "" || q.Name == one.Name) && after {
				r := one.StoredSchedule
				r.Template = bytes.Clone(r.Template)
				found = append(found, r)
			}
		}
	}
	slices.SortFunc(found, func(a, b task.StoredSchedule) int {
		return cmp.Or(cmp.Compare(a.Set, b.Set), cmp.Compare(a.Name, b.Name))
	})
	return found[:min(len(found), cmp.Or(q.Limit, 100))], nil
}

// DueSchedules implements task.Store.
func (s *Store) DueSchedules(ctx context.Context, req task.DueRequest) (task.DueReply, error) {
	if err := s.enter(ctx); err != nil {
		return task.DueReply{}, err
	}
	defer s.mu.Unlock()
	reply := task.DueReply{Now: behind(req.Clock), Wait: -1}
	set := s.schedules[req.Set]
	if set == nil {
		return reply, nil
	}
	if set.Generation == req.Generation && req.Alive {
		set.Beats++
		set.heard = time.Now()
	}
	reply.Set = set.read()
	if set.Generation != req.Generation {
		return reply, nil
	}
	var waiting []*schedule
	for _, one := range set.schedules {
		if !one.Next.IsZero() {
			waiting = append(waiting, one)
		}
	}
	slices.SortFunc(waiting, func(a, b *schedule) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.Name, b.Name)) })
	for _, one := range waiting {
		if one.due.After(reply.Now) || len(reply.Due) == req.Max {
			reply.Wait = max(0, one.due.Sub(reply.Now))
			break
		}
		reply.Due = append(reply.Due, task.DueSchedule{Name: one.Name, Tick: one.Next, Held: one.due.After(one.Next), Paused: one.Paused})
	}
	return reply, nil
}

// behind returns the store's clock, or the caller's where that is behind.
func behind(clock time.Time) time.Time {
	now := time.Now()
	if !clock.IsZero() && clock.Before(now) {
		return clock
	}
	return now
}

// Tick implements task.Store.
func (s *Store) Tick(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	results := make([]task.TickResult, len(req.Ticks))
	set := s.schedules[req.Set]
	if set == nil || req.Generation != "" && req.Generation != set.Generation {
		return results, nil
	}
	for i, tick := range req.Ticks {
		if one := set.schedules[tick.Name]; one != nil && (tick.At.IsZero() || tick.At.Equal(one.Next)) {
			results[i] = s.tick(one, tick, behind(req.Clock))
		}
	}
	s.wake()
	return results, nil
}

func (s *Store) tick(one *schedule, tick task.Tick, now time.Time) (r task.TickResult) {
	asked := tick.At.IsZero()
	last := s.tasks[one.LastTask]
	switch {
	case one.Paused && !asked:
	case tick.Alone && last != nil && !last.Status.Ended():
		r.Unfinished = last.ID
		if tick.Hold > 0 && !asked {
			one.due = now.Add(tick.Hold)
			return r
		}
	default:
		for _, n := range tick.Tasks {
			if _, exists := s.tasks[n.ID]; !exists {
				s.add(n, time.Now())
				r.Added++
			}
			one.LastTask = n.ID
		}
		if !asked && len(tick.Tasks) > 0 {
			one.Last = tick.At
		}
	}
	if r.Made = !asked || r.Unfinished == ""; !asked {
		one.Next, one.due = tick.Next, tick.Next
	}
	return r
}

// steerSchedule pauses or resumes a schedule.
func (s *Store) steerSchedule(cmd task.Command) error {
	set, name, _ := strings.Cut(cmd.Schedule, "/")
	if of := s.schedules[set]; of != nil && of.schedules[name] != nil {
		of.schedules[name].Paused = cmd.Verb == task.VerbPause
		return nil
	}
	return task.ErrNotFound
}

// forgetSets removes sets without schedules whose processes are gone (rule 56).
func (s *Store) forgetSets(now time.Time) {
	maps.DeleteFunc(s.schedules, func(_ string, set *scheduleSet) bool {
		return len(set.schedules) == 0 && set.heard.Before(now.Add(-storekit.EmptySetKept))
	})
}
