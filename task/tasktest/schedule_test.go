package tasktest_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// This is how the test of a schedule may look: which tasks it makes, and when, also in the nights
// in which the clocks change. No handler runs, so that the test sees every task as it was created.

// nightly returns the schedules of the service.
func nightly(zone *time.Location) ([]task.ScheduleEntry, error) {
	three, err := cron.Parse("0 3 * * *", &cron.Options{Zone: zone})
	if err != nil {
		return nil, err
	}
	letters, err := SendLetters.Prepare(Letters{To: []string{"all"}}, nil)
	return []task.ScheduleEntry{{Name: "nightly", Schedule: three, Task: letters}}, err
}

func TestExample_ASchedulePostsOneLetterANightAlsoWhenTheClocksChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones on this machine: ", err)
	}
	synctest.Test(t, func(t *testing.T) {
		// Two days before the clocks go forward.
		time.Sleep(time.Until(time.Date(2000, 3, 24, 12, 0, 0, 0, berlin)))
		entries, err := nightly(berlin)
		if err != nil {
			t.Fatal(err)
		}
		store := memstore.New()
		s, err := task.NewScheduler(task.SchedulerConfig{Store: store, Name: "post", Schedules: entries, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 * 24 {
			// Creates what is due; Serve does the same again and again.
			if _, err := s.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		page, err := task.NewClient(store).List(t.Context(), task.Query{Kind: SendLetters.Name})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"28 Mar 03:00 +0200", "27 Mar 03:00 +0200", "26 Mar 03:00 +0200", "25 Mar 03:00 +0100"}
		if len(page.Tasks) != len(want) {
			t.Fatalf("%d tasks, want %d", len(page.Tasks), len(want))
		}
		for i, made := range page.Tasks {
			if got := made.Created.In(berlin).Format("02 Jan 15:04 -0700"); got != want[i] || made.Meta[task.MetaSchedule] != "post/nightly" {
				t.Errorf("the task %d was created at %s, want %s: %+v", i, got, want[i], made)
			}
		}
	})
}
