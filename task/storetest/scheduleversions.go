package storetest

import (
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func twoVersions(w *scheduleWorld) {
	w.set("2025-06-01T12:00:30Z")
	both := w.entry("both", "* * * * *", "UTC")
	before := []task.ScheduleEntry{both, w.entry("old", "* * * * *", "UTC")}
	after := []task.ScheduleEntry{both, w.entry("new", "* * * * *", "UTC")}
	old := w.process(0, before...)
	w.look(old)
	w.pass(time.Minute, 10*time.Second, old)
	w.wantTicks("old", "06-01 12:01")
	// The rollout: contents that the set never had are the newer version, at once.
	first := w.process(0, after...)
	w.look(first)
	w.pass(time.Minute, 10*time.Second, old, first)
	w.wantTicks("old", "06-01 12:01")
	w.wantTicks("new", "06-01 12:02")
	w.wantTicks("both", "06-01 12:01", "06-01 12:02")
	// A container of the old version restarts in the middle of it.
	again := w.process(0, before...)
	w.pass(2*time.Minute, 10*time.Second, again, first, old)
	w.wantTicks("old", "06-01 12:01")
	w.wantTicks("new", "06-01 12:02", "06-01 12:03", "06-01 12:04")
	// The rollback: the old version counts after the new one was not heard of for half a minute.
	w.pass(time.Minute, 5*time.Second, again)
	w.wantTicks("old", "06-01 12:01") // it has come back, and its next tick is that of 12:06
	w.wantTicks("new", "06-01 12:02", "06-01 12:03", "06-01 12:04")
	w.wantTicks("both", "06-01 12:01", "06-01 12:02", "06-01 12:03", "06-01 12:04", "06-01 12:05")
	w.pass(time.Minute, 5*time.Second, first, again)
	w.wantTicks("new", "06-01 12:02", "06-01 12:03", "06-01 12:04") // it is the older version now
	w.wantTicks("old", "06-01 12:01", "06-01 12:06")
}

func revisionDecides(w *scheduleWorld) {
	w.set("2025-06-01T12:00:30Z")
	seven := w.process(7, w.entry("seven", "* * * * *", "UTC"))
	w.look(seven)
	five := w.process(5, w.entry("five", "* * * * *", "UTC"))
	w.pass(time.Minute, 10*time.Second, five, seven)
	w.wantTicks("seven", "06-01 12:01")
	w.wantTicks("five")
	eight := w.process(8, w.entry("seven", "* * * * *", "UTC"), w.entry("eight", "* * * * *", "UTC"))
	w.pass(time.Minute, 10*time.Second, eight, five, seven)
	w.wantTicks("seven", "06-01 12:01", "06-01 12:02")
	w.wantTicks("eight", "06-01 12:02")
	w.wantTicks("five")
}

func removedAndRenamed(w *scheduleWorld) {
	w.set("2025-06-01T12:00:00Z")
	hourly := func(name, former string) task.ScheduleEntry {
		return w.entry(name, "0 * * * *", "UTC", func(e *task.ScheduleEntry) { e.FormerName = former })
	}
	c := task.NewClient(w.Store)
	w.look(w.process(0, hourly("removed", ""), hourly("a", ""), hourly("b", ""), hourly("paused", "")))
	if err := c.PauseSchedule(w.Context(), "service/paused"); err != nil {
		w.Fatal(err)
	}
	w.set("2025-06-01T13:00:30Z") // a tick has come, and no process has made it
	p := w.process(0, hourly("with", "a"), hourly("without", ""), hourly("still", "paused"))
	w.look(p)
	w.wantTicks("with", "06-01 13:00")
	w.wantTicks("without")
	w.set("2025-06-01T14:00:30Z")
	w.look(p)
	w.wantTicks("with", "06-01 13:00", "06-01 14:00")
	w.wantTicks("without", "06-01 14:00")
	for _, name := range []string{"removed", "a", "b", "still"} {
		w.wantTicks(name)
	}
	found, err := c.Schedules(w.Context(), task.ScheduleQuery{})
	if err != nil || len(found) != 3 || found[0].Name != "service/still" || !found[0].Paused || found[1].Words != "at minute 0 of every hour, UTC" {
		w.Errorf("%+v, %v", found, err)
	}
	w.look(w.process(0))
	if found, err := c.Schedules(w.Context(), task.ScheduleQuery{}); err != nil || len(found) != 0 {
		w.Errorf("%+v, %v", found, err)
	}
}

func pausedAndRun(w *scheduleWorld) {
	w.set("2025-06-01T12:00:30Z")
	c := task.NewClient(w.Store)
	p := w.process(0, w.entry("s", "* * * * *", "UTC", missed(task.MissedAll, 0)))
	w.look(p)
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	w.pass(time.Minute, 10*time.Second, p)
	must(c.PauseSchedule(w.Context(), "service/s"))
	w.pass(3*time.Minute, 10*time.Second, p)
	w.wantTicks("s", "06-01 12:01")
	ran, err := c.RunSchedule(w.Context(), "service/s")
	must(err)
	if got := w.get(ran.ID); got.Kind != "k" || got.Meta[task.MetaSchedule] != "service/s" || ran.Outcome == task.OutcomeExisting {
		w.Errorf("%+v, %+v", ran, got)
	}
	must(c.ResumeSchedule(w.Context(), "service/s"))
	w.pass(time.Minute, 10*time.Second, p)
	w.wantTicks("s", "06-01 12:01", "06-01 12:05", "asked for")
	found, err := c.Schedules(w.Context(), task.ScheduleQuery{Set: "service", Name: "s"})
	if err != nil || len(found) != 1 || found[0].LastTask == ran.ID || found[0].Last.Format("15:04") != "12:05" || found[0].Next.Format("15:04") != "12:06" {
		w.Errorf("%+v, %v", found, err)
	}
	for _, ask := range []func() error{
		func() error { return c.PauseSchedule(w.Context(), "service/none") },
		func() error { return c.ResumeSchedule(w.Context(), "other/s") },
		func() error { _, err := c.RunSchedule(w.Context(), "service/none"); return err },
	} {
		if err := ask(); !errors.Is(err, task.ErrNotFound) {
			w.Errorf("a schedule that there is not: %v", err)
		}
	}
	if err := c.PauseSchedule(w.Context(), "s"); !errors.Is(err, task.ErrInvalid) {
		w.Errorf("a schedule without its set: %v", err)
	}
}

func overlapping(w *scheduleWorld) {
	w.set("2025-06-01T12:00:30Z")
	c := task.NewClient(w.Store)
	of := func(name string, o task.Overlap, change ...func(*task.ScheduleEntry)) task.ScheduleEntry {
		e := w.entry(name, "* * * * *", "UTC", append(change, overlap(o))...)
		e.Task.Queue = name
		return e
	}
	p := w.process(0, of("allow", task.OverlapAllow), of("skip", task.OverlapSkip), of("queue", task.OverlapQueue, missed(task.MissedSkip, 0)), of("each", task.OverlapQueue, missed(task.MissedAll, 0)))
	w.look(p)
	w.pass(4*time.Minute, 5*time.Second, p)
	w.wantTicks("allow", "06-01 12:01", "06-01 12:02", "06-01 12:03", "06-01 12:04")
	for _, name := range []string{"skip", "queue", "each"} {
		w.wantTicks(name, "06-01 12:01")
	}
	if ran, err := c.RunSchedule(w.Context(), "service/skip"); err != nil || ran.Outcome != task.OutcomeExisting {
		w.Errorf("run while the one before has not ended: %+v, %v", ran, err)
	}
	end := func(queue string) {
		w.Helper()
		found, err := w.Store.Find(w.Context(), task.Query{Queue: queue, Status: task.StatusQueued})
		if err != nil || len(found) != 1 {
			w.Fatalf("waiting in %s: %v, %v", queue, ids(found), err)
		}
		w.mustAsk(task.VerbCancel, found[0].ID)
	}
	for _, name := range []string{"skip", "queue", "each"} {
		end(name)
	}
	w.pass(2*time.Second, time.Second, p)
	w.wantTicks("skip", "06-01 12:01")
	w.wantTicks("queue", "06-01 12:01", "06-01 12:04")
	w.wantTicks("each", "06-01 12:01", "06-01 12:02")
	end("each")
	w.pass(2*time.Second, time.Second, p)
	w.wantTicks("each", "06-01 12:01", "06-01 12:02", "06-01 12:03")
	w.set("2025-06-01T12:05:01Z")
	w.look(p)
	w.wantTicks("skip", "06-01 12:01", "06-01 12:05")
	if ran, err := c.RunSchedule(w.Context(), "service/allow"); err != nil || ran.Outcome == task.OutcomeExisting {
		w.Errorf("run where an overlap is allowed: %+v, %v", ran, err)
	}
}
