//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// scheduler returns the scheduler for the schedules of the run, whose names are those of one set.
func (w *worker) scheduler(store task.Store) (*task.Scheduler, error) {
	cfg := task.SchedulerConfig{Store: store, Logger: w.log}
	for _, s := range w.schedules {
		set, name, err := task.SplitSchedule(s.Name)
		if err != nil {
			return nil, err
		}
		times, err := cron.Parse(fmt.Sprintf("*/%d * * * * *", int(s.Every.Seconds())), &cron.Options{Seconds: true})
		if err != nil {
			return nil, err
		}
		payload, err := json.Marshal(s.Plan)
		if err != nil {
			return nil, err
		}
		cfg.Name = set
		cfg.Schedules = append(cfg.Schedules, task.ScheduleEntry{Name: name, Schedule: times, Missed: task.MissedAll, MaxMissed: 1000,
			Task: task.NewTask{Kind: s.Plan.Kind, Queue: s.Plan.Queue, Payload: payload}})
	}
	return task.NewScheduler(cfg)
}

// seqOf returns the number of a task that a schedule has made.
func (w *worker) seqOf(t task.Task) (int, error) {
	name, tick, err := tickOf(t.Meta)
	if err != nil {
		return 0, err
	}
	for _, s := range w.schedules {
		if s.Name == name {
			return s.Seq(tick), nil
		}
	}
	return 0, fmt.Errorf("the schedule %q is not one of this run", name)
}

// tickOf returns the schedule that has made a task, and its tick. A task of a client has none.
func tickOf(meta map[string]string) (schedule string, tick time.Time, err error) {
	schedule = meta[task.MetaSchedule]
	if schedule == "" {
		return "", tick, errors.New("no schedule has made this task")
	}
	tick, err = time.Parse(time.RFC3339Nano, meta[task.MetaTick])
	return schedule, tick, err
}

// setMade reads from the Meta of a stored task which schedule has made it.
func setMade(t *history.Task, meta string) error {
	if !strings.Contains(meta, task.MetaSchedule) {
		return nil
	}
	var all map[string]string
	err := json.Unmarshal([]byte(meta), &all)
	if err == nil {
		t.Schedule, t.Tick, err = tickOf(all)
	}
	return err
}
