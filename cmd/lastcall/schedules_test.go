package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
)

func TestDoctor_TellsOfSchedulesWhoseTicksNobodyMakes(t *testing.T) {
	f := newFixture(t)
	hourly, err := cron.Every(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n, err := task.Prepare("k", []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := task.NewScheduler(task.SchedulerConfig{Store: f.store, Name: "set", Schedules: []task.ScheduleEntry{{Name: "s", Schedule: hourly, Task: n}},
		Clock: func() time.Time { return time.Now().Add(-62 * time.Minute) }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, "doctor", "--store", "sqlite:"+f.path); err != nil || !strings.Contains(out, "1 are due for more than a minute, as set/s") {
		t.Errorf("%s, %v", out, err)
	}
	if err := f.client.PauseSchedule(t.Context(), "set/s"); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, "doctor", "--store", "sqlite:"+f.path); err != nil || strings.Contains(out, "schedules") {
		t.Errorf("%s, %v", out, err)
	}
	if out, _, err := run(t, "schedules", "--store", "sqlite:"+f.path); err != nil || !strings.Contains(out, "set/s  paused  -     k     every hour") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestConfig_AScheduleThatCannotBeIsToldWithItsLine(t *testing.T) {
	for schedule, want := range map[string]string{
		`{every: 1s}`: `:3: schedule s: kind: nothing is said`,
		`{kind: k}`:   `:3: schedule s: cron: say either cron, as "0 3 * * *", or every, as 30s`,
		`{kind: k, cron: "0 3 * * *", every: 1s}`:                                       `say either cron`,
		`{kind: k, every: 1500ms}`:                                                      `:3: schedule s: every: a schedule cannot be due every 1.5s: use whole seconds`,
		`{kind: k, every: 30}`:                                                          `30 has no unit: write 30s`,
		`{kind: k, every: 30s, timeZone: UTC}`:                                          `every: an interval has neither timeZone nor seconds`,
		`{kind: k, cron: "0 3 * *"}`:                                                    `cron: cron expression "0 3 * *": expected exactly 5 fields`,
		`{kind: k, cron: "0 0 30 2 *"}`:                                                 `is never due`,
		`{kind: k, cron: "0 3 * * *", timeZone: Berlin}`:                                `timeZone: no time zone is called "Berlin"`,
		`{kind: k, cron: "0 3 * * *", timeZone: Local}`:                                 `no time zone is called "Local"`,
		`{kind: k, every: 1s, missed: never}`:                                           `:3: schedule s: Missed "never" is none of one, skip, all`,
		`{kind: k, every: 1s, maxMissed: 0}`:                                            `MaxMissed -1 must be from 1 to 1000`,
		`{kind: k, every: 1s, overlap: x}`:                                              `Overlap "x" is none of allow, skip, queue`,
		`{kind: k, every: 1s, jitter: -1s}`:                                             `Jitter -1s is negative`,
		`{kind: "k k", every: 1s}`:                                                      `schedule s: kind "k k" may have only`,
		`{kind: k, every: 1s, payload: {a: .nan}}`:                                      `payload: it is no JSON`,
		`{kind: k, evry: 1s}`:                                                           `unknown key evry: do you mean every?`,
		`{kind: k, every: 1s, meta: {lastcall.tick: x}}`:                                `are set by each tick`,
		"{kind: k, every: 1s}\n  t: {kind: k, every: 1s}\nscheduleSet: a/b":             `:5: set of schedules "a/b" must have no slash`,
		"{kind: k, every: 1s, formerName: o}\n  t: {kind: k, every: 1s, formerName: o}": `have the same former name "o"`,
	} {
		path := writeConfig(t, "version: 1\nschedules:\n  s: "+schedule+"\n")
		out, _, err := run(t, "config", "check", path)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %q, %v, want %q", schedule, out, err, want)
		}
		if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: serve says %v, want %q", schedule, err, want)
		}
	}
}

func TestConfig_SchedulesAreThoseOfTheFileAndNoneIsNotSilence(t *testing.T) {
	for text, want := range map[string]int{
		"version: 1\n":                -1,
		"version: 1\nschedules: {}\n": 0,
		"version: 1\nkinds: {k: {exec: [sh], queue: q}}\nschedules: {s: {kind: k, every: 1m, payload: {day: [2, {a: x}]}}}\n": 1,
	} {
		c, err := readConfig(writeConfig(t, text))
		if err != nil || c.hasSchedules() != (want >= 0) || len(c.entries) != max(want, 0) {
			t.Errorf("%q: %+v, %v", text, c.entries, err)
		}
		if want == 1 && (c.entries[0].Task.Queue != "q" || string(c.entries[0].Task.Payload) != `{"day":[2,{"a":"x"}]}`) {
			t.Errorf("%+v", c.entries[0])
		}
	}
}
