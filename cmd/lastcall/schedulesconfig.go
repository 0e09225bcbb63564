package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the container image has no time zone files

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
)

// scheduleConfig is a schedule of a file.
type scheduleConfig struct {
	// Kind is the kind of the tasks. Queue is their queue, by default that of the kind.
	Kind  string `yaml:"kind"`
	Queue string `yaml:"queue"`
	// Payload is the payload of the tasks. Defaults to null.
	Payload any `yaml:"payload"`
	// Priority and Meta are those of the tasks.
	Priority int               `yaml:"priority"`
	Meta     map[string]string `yaml:"meta"`
	// Cron is an expression of five fields, or of six with Seconds. TimeZone is the zone of its times.
	// Defaults to UTC.
	Cron     string `yaml:"cron"`
	Seconds  bool   `yaml:"seconds"`
	TimeZone string `yaml:"timeZone"`
	// Every is an interval, in place of Cron.
	Every *time.Duration `yaml:"every"`
	// StartBefore cancels a task that has not been started this long after its tick.
	StartBefore time.Duration `yaml:"startBefore"`
	// Jitter delays each task by a random time of up to this.
	Jitter *time.Duration `yaml:"jitter"`
	// Missed is one, skip or all. MaxMissed bounds how many tasks all creates.
	Missed    string `yaml:"missed"`
	MaxMissed *int   `yaml:"maxMissed"`
	// Overlap is allow, skip or queue.
	Overlap string `yaml:"overlap"`
	// FormerName is the name that the schedule had before.
	FormerName string `yaml:"formerName"`
}

// defaultScheduleSet is the set of a file that does not name one.
const defaultScheduleSet = "lastcall"

// readSchedules builds the entries of a scheduler from the schedules of a file, and finds what
// cannot work.
func (c *config) readSchedules() (faults []fault) {
	c.entries = nil
	for _, name := range slices.Sorted(maps.Keys(c.Schedules)) {
		s := c.Schedules[name]
		wrong := func(key string, err error) {
			text := strings.ReplaceAll(err.Error(), task.ErrInvalid.Error()+": ", "")
			where := fmt.Sprintf("schedule %s: ", name)
			if key != "" {
				where += key + ": "
			}
			faults = append(faults, fault{key: []string{"schedules", name, key}, text: where + strings.TrimPrefix(text, fmt.Sprintf("schedule %q: ", name))})
		}
		when, key, err := s.schedule()
		if err != nil {
			wrong(key, err)
			continue
		}
		queue := cmp.Or(s.Queue, c.Kinds[s.Kind].Queue)
		payload, err := json.Marshal(s.Payload)
		if err != nil {
			wrong("payload", fmt.Errorf("it is no JSON: %w", err))
			continue
		}
		n, err := task.Prepare(s.Kind, payload, &task.EnqueueOptions{Queue: queue, Priority: s.Priority, Meta: s.Meta, StartBefore: s.StartBefore})
		if err != nil {
			wrong("", err)
			continue
		}
		e := task.ScheduleEntry{Name: name, FormerName: s.FormerName, Schedule: when, Task: n, Missed: task.Missed(s.Missed), Overlap: task.Overlap(s.Overlap)}
		if s.Jitter != nil {
			e.Jitter = *s.Jitter
		}
		if s.MaxMissed != nil {
			if e.MaxMissed = *s.MaxMissed; e.MaxMissed == 0 {
				e.MaxMissed = -1 // in a task.ScheduleEntry zero means the default
			}
		}
		if _, err := task.NewScheduler(task.SchedulerConfig{Store: noStore{}, Name: defaultScheduleSet, Schedules: []task.ScheduleEntry{e}}); err != nil {
			wrong("", err)
			continue
		}
		c.entries = append(c.entries, e)
	}
	if len(faults) > 0 || !c.hasSchedules() {
		return faults
	}
	if _, err := c.newScheduler(noStore{}, nil); err != nil {
		faults = append(faults, fault{key: []string{"scheduleSet"}, text: strings.TrimPrefix(err.Error(), task.ErrInvalid.Error()+": ")})
	}
	return faults
}

// noStore is the store of a scheduler that is created only to be checked.
type noStore struct{ task.Store }

// hasSchedules reports whether the file has the key "schedules", even if the list is empty.
func (c *config) hasSchedules() bool { return c.file.has("schedules") }

// newScheduler creates the scheduler of the file's schedules.
func (c *config) newScheduler(store task.Store, s *service) (*task.Scheduler, error) {
	cfg := task.SchedulerConfig{Store: store, Name: cmp.Or(c.ScheduleSet, defaultScheduleSet), Revision: c.ScheduleRevision, Schedules: c.entries}
	if s != nil {
		cfg.Logger = s.log
	}
	return task.NewScheduler(cfg)
}

// schedule returns when the schedule is due. On an error, key is the key with the fault.
func (s scheduleConfig) schedule() (when task.Schedule, key string, err error) {
	switch {
	case s.Kind == "":
		return nil, "kind", fmt.Errorf("nothing is said: name the kind of the tasks")
	case (s.Cron == "") == (s.Every == nil):
		return nil, "cron", fmt.Errorf("say either cron, as \"0 3 * * *\", or every, as 30s")
	case s.Every != nil && (s.TimeZone != "" || s.Seconds):
		return nil, "every", fmt.Errorf("an interval has neither timeZone nor seconds: take them out, or use cron")
	case s.Every != nil:
		when, err = cron.Every(*s.Every)
		return when, "every", err
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil || s.TimeZone == "Local" {
		return nil, "timeZone", fmt.Errorf("no time zone is called %q: use a name as Europe/Berlin, or leave it out for UTC", s.TimeZone)
	}
	when, err = cron.Parse(s.Cron, &cron.Options{Zone: zone, Seconds: s.Seconds})
	return when, "cron", err
}

// printNextTicks prints when the schedules are due next.
func (c *config) printNextTicks(w io.Writer, now time.Time) error {
	for _, e := range c.entries {
		said := ""
		zone := time.UTC
		if s, ok := e.Schedule.(cron.Schedule); ok {
			said, zone = s.Words(), s.Zone()
		}
		if _, err := fmt.Fprintf(w, "schedule %s, kind %s: %s\n", e.Name, e.Task.Kind, said); err != nil {
			return err
		}
		at := now
		for range 5 {
			if at = e.Schedule.Next(at); at.IsZero() {
				break
			}
			if _, err := fmt.Fprintf(w, "  %s\n", at.In(zone).Format("Mon 2006-01-02 15:04:05 MST")); err != nil {
				return err
			}
		}
		if _, known := c.Kinds[e.Task.Kind]; !known && !c.DemoKinds {
			if _, err := fmt.Fprintf(w, "  no kind of this file is called %s: its tasks wait for a worker that knows it\n", e.Task.Kind); err != nil {
				return err
			}
		}
	}
	return nil
}
