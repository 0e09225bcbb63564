package httpapi

import (
	"errors"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
)

// withSchedules has a scheduler set some schedules.
func withSchedules(t *testing.T, store task.Store, set string, names ...string) {
	t.Helper()
	var entries []task.ScheduleEntry
	for _, name := range names {
		hourly, err := cron.Parse("0 * * * *", nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := task.Prepare("k", []byte(`{"a":1}`), &task.EnqueueOptions{Queue: "q", Priority: 3, Meta: map[string]string{"m": "v"}, StartBefore: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, task.ScheduleEntry{Name: name, Schedule: hourly, Task: n, Jitter: time.Minute, Overlap: task.OverlapSkip})
	}
	s, err := task.NewScheduler(task.SchedulerConfig{Store: store, Name: set, Schedules: entries})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSchedules_AreListedSteeredAndRunOverHTTP(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		withSchedules(t, s.store, "shop", "a/b", "c", "d")
		withSchedules(t, s.store, "other", "c")
		c, local := s.client(""), s.tasks
		for _, q := range []task.ScheduleQuery{{}, {Set: "shop"}, {Limit: 1}, {AfterSet: "shop", AfterName: "a/b"}, {Set: "shop", Name: "c"}, {Name: "c"}, {Set: "none"}} {
			got, err := c.Schedules(t.Context(), q)
			want, err2 := local.Schedules(t.Context(), q)
			if err != nil || err2 != nil || len(got) != len(want) {
				t.Fatalf("%+v: %+v, %v, want %+v, %v", q, got, err, want, err2)
			}
			for i := range got {
				if g, w := got[i], want[i]; g.Name != w.Name || g.Words != w.Words || !g.Next.Equal(w.Next) || g.Jitter != w.Jitter || g.Overlap != w.Overlap ||
					string(g.Task.Payload) != `{"a":1}` || g.Task.Kind != "k" || g.Task.Queue != "q" || g.Task.Priority != 3 || g.Task.Meta["m"] != "v" || g.Task.StartBefore != time.Hour {
					t.Errorf("%+v, want %+v", g, w)
				}
			}
		}
		one := func() task.ScheduleInfo {
			t.Helper()
			found, err := c.Schedules(t.Context(), task.ScheduleQuery{Set: "shop", Name: "a/b"})
			if err != nil || len(found) != 1 {
				t.Fatalf("%+v, %v", found, err)
			}
			return found[0]
		}
		if err := c.PauseSchedule(t.Context(), "shop/a/b"); err != nil || !one().Paused {
			t.Errorf("%v, %+v", err, one())
		}
		first, err := c.RunSchedule(t.Context(), "shop/a/b")
		if err != nil || first.Existed || one().LastTask != first.ID {
			t.Errorf("%+v, %v, %+v", first, err, one())
		}
		if again, err := c.RunSchedule(t.Context(), "shop/a/b"); err != nil || !again.Existed || again.ID != first.ID {
			t.Errorf("%+v, %v", again, err)
		}
		if err := c.ResumeSchedule(t.Context(), "shop/a/b"); err != nil || one().Paused {
			t.Errorf("%v, %+v", err, one())
		}
		if err := c.PauseSchedule(t.Context(), "shop/none"); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if _, err := c.RunSchedule(t.Context(), "shop/none"); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if err := c.PauseSchedule(t.Context(), "none"); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
}
