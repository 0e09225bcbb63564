package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
)

// RunSchedules has processes with schedules use a store, by a clock of the test's that is behind
// the store's. Its stories are about summer time, clocks that jump, processes that sleep, two
// versions of a configuration, and commands of people. Each story is a subtest on a store of its
// own.
func RunSchedules(t *testing.T, e Engine) {
	for _, story := range []struct {
		says string
		tell func(w *scheduleWorld)
	}{
		{"summer time begins and ends", summerTime},
		{"clocks jump by an hour", clocksJump},
		{"a process sleeps for a day", sleptForADay},
		{"two versions are there in a rollout and a rollback", twoVersions},
		{"a revision decides", revisionDecides},
		{"schedules are removed and renamed", removedAndRenamed},
		{"a schedule is paused, resumed and run now", pausedAndRun},
		{"tasks overlap", overlapping},
		{"three processes look at one moment", threeProcesses},
	} {
		t.Run(story.says, func(t *testing.T) {
			s := e.Open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			story.tell(&scheduleWorld{T: &T{TB: t, real: t, Store: s, bare: s, engine: e}})
		})
	}
}

// scheduleWorld is a store with a clock.
type scheduleWorld struct {
	*T
	now time.Time
}

// set sets the clock.
func (w *scheduleWorld) set(text string) {
	w.Helper()
	now, err := time.Parse(time.RFC3339, text)
	if err != nil {
		w.Fatal(err)
	}
	w.now = now
}

// entry returns a schedule with a cron expression.
func (w *scheduleWorld) entry(name, expr, zone string, change ...func(*task.ScheduleEntry)) task.ScheduleEntry {
	w.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		w.Fatal(err)
	}
	when, err := cron.Parse(expr, &cron.Options{Zone: loc})
	if err != nil {
		w.Fatal(err)
	}
	n, err := task.Prepare("k", []byte("{}"), nil)
	if err != nil {
		w.Fatal(err)
	}
	e := task.ScheduleEntry{Name: name, Schedule: when, Task: n}
	for _, c := range change {
		c(&e)
	}
	return e
}

// process returns a new process of the service.
func (w *scheduleWorld) process(revision int64, entries ...task.ScheduleEntry) *task.Scheduler {
	w.Helper()
	s, err := task.NewScheduler(task.SchedulerConfig{Store: w.Store, Name: "service", Schedules: entries, Revision: revision,
		Clock: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// look has processes do what is due now.
func (w *scheduleWorld) look(all ...*task.Scheduler) {
	w.Helper()
	for _, s := range all {
		for n := 0; ; n++ {
			wait, err := s.Look(w.Context())
			if err != nil {
				w.Fatalf("look at %v: %v", w.now, err)
			}
			if wait >= 100*time.Millisecond {
				break
			}
			if n > 100 {
				w.Fatalf("at %v the process looks again and again", w.now)
			}
			w.now = w.now.Add(wait)
		}
	}
}

// pass lets time pass in steps, and has the processes look at each.
func (w *scheduleWorld) pass(d, step time.Duration, all ...*task.Scheduler) {
	w.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(step)
		w.look(all...)
	}
}

// wantTicks complains unless a schedule has made tasks for exactly these times, as "01-02 15:04" or
// longer in UTC.
func (w *scheduleWorld) wantTicks(name string, want ...string) {
	w.Helper()
	found, err := w.Store.Find(w.Context(), task.Query{Meta: map[string]string{task.MetaSchedule: "service/" + name}, Limit: 1000})
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, t := range found {
		text := "asked for"
		if tick := t.Meta[task.MetaTick]; tick != "" {
			at, err := time.Parse(time.RFC3339Nano, tick)
			if err != nil {
				w.Fatal(err)
			}
			text = strings.TrimSuffix(at.Format("01-02 15:04:05"), ":00")
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.Errorf("%s was made for %q, want %q", name, got, want)
	}
}

func missed(m task.Missed, most int) func(*task.ScheduleEntry) {
	return func(e *task.ScheduleEntry) { e.Missed, e.MaxMissed = m, most }
}

func overlap(o task.Overlap) func(*task.ScheduleEntry) {
	return func(e *task.ScheduleEntry) { e.Overlap = o }
}

func summerTime(w *scheduleWorld) {
	w.set("2025-03-29T12:00:00Z")
	entries := []task.ScheduleEntry{w.entry("berlin", "30 2 * * *", "Europe/Berlin"), w.entry("interval", "0 */6 * * *", "Europe/Berlin"),
		w.entry("howe", "15 2 * * *", "Australia/Lord_Howe"), w.entry("twice", "45 1 * * *", "Australia/Lord_Howe")}
	p := w.process(0, entries...)
	w.look(p)
	w.pass(36*time.Hour, 30*time.Minute, p)
	w.wantTicks("berlin", "03-30 01:00") // 02:30 does not exist: at the change
	w.wantTicks("interval", "03-29 17:00", "03-29 23:00", "03-30 04:00", "03-30 10:00", "03-30 16:00", "03-30 22:00")
	w.set("2025-04-05T00:00:00Z")
	w.pass(2*24*time.Hour, 15*time.Minute, p)
	// 01:45 exists twice.
	w.wantTicks("twice", "03-29 14:45", "03-30 14:45", "04-04 14:45", "04-05 14:45", "04-06 15:15")
	w.set("2025-10-04T00:00:00Z")
	w.pass(2*24*time.Hour, 15*time.Minute, p)
	w.wantTicks("howe", "03-29 15:15", "03-30 15:15", "04-04 15:15", "04-05 15:45", "04-06 15:45", "10-03 15:45", "10-04 15:30", "10-05 15:15")
	w.set("2025-10-25T12:00:00Z")
	w.pass(36*time.Hour, 30*time.Minute, p)
	w.wantTicks("berlin", "03-30 01:00", "04-04 00:30", "04-05 00:30", "04-06 00:30", "10-03 00:30", "10-04 00:30", "10-05 00:30", "10-25 00:30", "10-26 00:30")
}

func clocksJump(w *scheduleWorld) {
	w.set("2025-06-01T12:00:00Z")
	p := w.process(0, w.entry("ten", "*/10 * * * *", "UTC"), w.entry("hour", "0 * * * *", "UTC"), w.entry("every", "@every 20m", "UTC"))
	w.look(p)
	w.pass(21*time.Minute, time.Minute, p)
	w.wantTicks("ten", "06-01 12:10", "06-01 12:20")
	w.now = w.now.Add(time.Hour)
	w.look(p)
	w.wantTicks("ten", "06-01 12:10", "06-01 12:20", "06-01 13:20") // one for those that were missed
	w.wantTicks("hour", "06-01 13:00")
	w.wantTicks("every", "06-01 12:20", "06-01 13:20")
	w.now = w.now.Add(-time.Hour)
	w.pass(2*time.Hour, time.Minute, p)
	w.wantTicks("ten", "06-01 12:10", "06-01 12:20", "06-01 12:30", "06-01 12:40", "06-01 12:50", "06-01 13:00", "06-01 13:10", "06-01 13:20",
		"06-01 13:30", "06-01 13:40", "06-01 13:50", "06-01 14:00", "06-01 14:10", "06-01 14:20")
	w.wantTicks("hour", "06-01 13:00", "06-01 14:00")
	// Computed again.
	w.wantTicks("every", "06-01 12:20", "06-01 12:42", "06-01 13:02", "06-01 13:20", "06-01 13:22", "06-01 13:42", "06-01 14:02")
}

func sleptForADay(w *scheduleWorld) {
	w.set("2025-06-01T12:30:00Z")
	hourly := func(name string, m task.Missed, most int) task.ScheduleEntry {
		return w.entry(name, "0 * * * *", "UTC", missed(m, most))
	}
	entries := []task.ScheduleEntry{hourly("one", task.MissedOne, 0), hourly("skip", task.MissedSkip, 0), hourly("all", task.MissedAll, 0), hourly("few", task.MissedAll, 3),
		w.entry("second", "@every 1s", "UTC")}
	p := w.process(0, entries...)
	w.look(p)
	w.now = w.now.Add(24 * time.Hour)
	w.look(p)
	w.wantTicks("one", "06-02 12:00")
	w.wantTicks("skip")
	w.wantTicks("few", "06-02 10:00", "06-02 11:00", "06-02 12:00")
	w.wantTicks("second", "06-02 12:30")
	var every []string
	for h := range 24 {
		every = append(every, time.Date(2025, 6, 1, 13+h, 0, 0, 0, time.UTC).Format("01-02 15:04"))
	}
	w.wantTicks("all", every...)
	// It slept until just after a tick: that one is not missed.
	w.set("2025-06-03T10:00:30Z")
	w.look(p)
	w.wantTicks("skip", "06-03 10:00")
	w.wantTicks("one", "06-02 12:00", "06-03 10:00")
	// Another process was started meanwhile.
	w.set("2025-06-05T10:00:30Z")
	w.look(w.process(0, entries...))
	w.wantTicks("skip", "06-03 10:00", "06-05 10:00")
	w.wantTicks("one", "06-02 12:00", "06-03 10:00", "06-05 10:00")
}

func threeProcesses(w *scheduleWorld) {
	w.set("2025-06-01T12:00:00Z")
	var (
		entries []task.ScheduleEntry
		all     []*task.Scheduler
	)
	for n := range 50 {
		entries = append(entries, w.entry(fmt.Sprint("s", n), "* * * * *", "UTC"))
	}
	for range 3 {
		p := w.process(0, entries...)
		w.look(p)
		all = append(all, p)
	}
	for range 5 {
		w.now = w.now.Add(time.Minute)
		done := make(chan error, len(all))
		for _, p := range all {
			go func() {
				_, err := p.Look(context.WithoutCancel(w.Context()))
				done <- err
			}()
		}
		for range all {
			if err := <-done; err != nil {
				w.Errorf("look: %v", err)
			}
		}
		w.look(all...)
	}
	for n := range entries {
		w.wantTicks(fmt.Sprint("s", n), "06-01 12:01", "06-01 12:02", "06-01 12:03", "06-01 12:04", "06-01 12:05")
	}
}
