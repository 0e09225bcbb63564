package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// ScheduleInfo is the present state of a schedule.
type ScheduleInfo struct {
	// Name is SET/NAME.
	Name string
	// Timing is the text of its times, such as a cron expression, and Words describes them in words.
	Timing, Words string
	// Task is the task that each tick makes, without an ID.
	Task NewTask
	// Jitter, Missed, MaxMissed and Overlap are as in ScheduleEntry.
	Jitter    time.Duration
	Missed    Missed
	MaxMissed int
	Overlap   Overlap
	// Paused: its ticks make nothing.
	Paused bool
	// Next is the next tick, zero if there is none. Last is the last tick that made a task. LastTask
	// is the last task, which a person may have requested.
	Next, Last time.Time
	LastTask   string
}

// Schedules lists schedules, sorted by set and name. Query.Limit is 100 unless set.
func (c *Client) Schedules(ctx context.Context, q ScheduleQuery) ([]ScheduleInfo, error) {
	found, err := c.store.Schedules(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("task: schedules: %w", err)
	}
	infos := make([]ScheduleInfo, len(found))
	for i, s := range found {
		var t template
		if err := json.Unmarshal(s.Template, &t); err != nil {
			return nil, fmt.Errorf("task: schedule %s/%s: what the store has of it cannot be read: %w", s.Set, s.Name, err)
		}
		infos[i] = ScheduleInfo{Name: s.Set + "/" + s.Name, Timing: s.Timing, Words: s.Words, Task: t.Task, Jitter: t.Jitter, Missed: t.Missed,
			MaxMissed: t.MaxMissed, Overlap: t.Overlap, Paused: s.Paused, Next: s.Next, Last: s.Last, LastTask: s.LastTask}
	}
	return infos, nil
}

// PauseSchedule stops the ticks of a schedule, named SET/NAME, from making tasks until
// ResumeSchedule; those ticks are not made later. A new version of the schedule stays paused.
func (c *Client) PauseSchedule(ctx context.Context, name string) error {
	return c.steerSchedule(ctx, VerbPause, name)
}

// ResumeSchedule ends a PauseSchedule.
func (c *Client) ResumeSchedule(ctx context.Context, name string) error {
	return c.steerSchedule(ctx, VerbResume, name)
}

func (c *Client) steerSchedule(ctx context.Context, verb Verb, name string) error {
	if _, _, err := SplitSchedule(name); err != nil {
		return err
	}
	if err := c.store.Control(ctx, Command{Verb: verb, Schedule: name}); err != nil {
		return fmt.Errorf("task: %s schedule %.200q: %w", verb, name, err)
	}
	return nil
}

// RunSchedule makes the task of a schedule, named SET/NAME, now, even while it is paused. The next
// tick stays as it is. If the schedule does not allow an overlap and its last task has not ended,
// nothing is added, and the result has the id of that task and OutcomeExisting.
func (c *Client) RunSchedule(ctx context.Context, name string) (EnqueueResult, error) {
	set, schedule, err := SplitSchedule(name)
	if err != nil {
		return EnqueueResult{}, err
	}
	found, err := c.Schedules(ctx, ScheduleQuery{Set: set, Name: schedule})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%w: schedule %.200q", ErrNotFound, name)
	}
	if err != nil {
		return EnqueueResult{}, err
	}
	e := scheduled{set: set, name: schedule, template: template{Task: found[0].Task}}
	n := e.Task
	n.ID, n.Meta = newID(), e.meta(time.Time{})
	results, err := c.store.Tick(ctx, TickRequest{Set: set, Ticks: []Tick{{Name: schedule, Tasks: []NewTask{n}, Alone: found[0].Overlap != OverlapAllow}}})
	switch {
	case err != nil:
		return EnqueueResult{ID: n.ID}, fmt.Errorf("task: run schedule %.200q: %w", name, err)
	case results[0].Unfinished != "":
		return EnqueueResult{ID: results[0].Unfinished, Outcome: OutcomeExisting}, nil
	case !results[0].Made:
		return EnqueueResult{}, fmt.Errorf("%w: schedule %.200q", ErrNotFound, name)
	}
	return EnqueueResult{ID: n.ID}, nil
}
