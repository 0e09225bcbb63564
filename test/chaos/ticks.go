//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// schedules are those of every run whose library can do schedules.
var schedules = []history.Schedule{
	{Number: 1, Name: "chaos/each-second", Every: time.Second, Plan: history.Plan{Seq: -1, Kind: history.KindSteps, Queue: "ticks", Steps: 2, PaceMS: 5, Save: true}},
	{Number: 2, Name: "chaos/recorded", Every: 2 * time.Second, Plan: history.Plan{Seq: -2, Kind: history.KindSteps, Queue: "ticks", Steps: 3, PaceMS: 20, Recorded: true}},
}

// learn notes what the library can do, as its driver has printed it, and begins its schedules.
func (r *run) learn(can []byte) error {
	r.load.plans.can = make(map[string]bool)
	for _, name := range strings.Fields(string(can)) {
		r.load.plans.can[name] = true
	}
	moves := func(k kind) bool { return strings.Contains(k.name, "clock") }
	// A clock that leaps would make thousands of ticks.
	if !r.load.plans.can[wire.CanSchedule] || slices.ContainsFunc(r.kinds, moves) {
		return nil
	}
	r.schedules = schedules
	for _, s := range r.schedules {
		r.rec.add(history.Event{Schedule: &s})
	}
	text, err := json.Marshal(r.schedules)
	r.environ = append(r.environ, wire.EnvSchedules+"="+string(text))
	return err
}

// pauseSchedules ends the ticks, and repeats that until it is answered.
func (r *run) pauseSchedules(ctx context.Context, s *slot) error {
	for _, schedule := range r.schedules {
		for r.load.ask(ctx, s, history.Call{Op: history.PauseSchedule, Schedule: schedule.Name}) != history.Done {
			if !wire.Pause(ctx, 100*time.Millisecond) {
				return fmt.Errorf("the schedule %s is not paused: %w", schedule.Name, context.Cause(ctx))
			}
		}
	}
	return nil
}
