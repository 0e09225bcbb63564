package task_test

import (
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestPendingReason_SaysWhatATaskWaitsFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	alive := []task.WorkerInfo{{Beat: task.Beat{Kinds: []string{"a", "k"}}, Liveness: task.LivenessAlive}}
	dead := []task.WorkerInfo{{Beat: task.Beat{Kinds: []string{"k"}}, Liveness: task.LivenessDead}, {Beat: task.Beat{Kinds: []string{"k"}}, Dead: true}}
	for _, c := range []struct {
		status  task.Status
		later   time.Duration
		workers []task.WorkerInfo
		paused  string
		want    string
	}{
		{task.StatusQueued, 0, alive, "other", ""},
		{task.StatusQueued, 0, nil, "", `no running worker knows the kind "k"`},
		{task.StatusInterrupted, 0, dead, "q", `no running worker knows the kind "k"`},
		{task.StatusQueued, time.Hour, alive, "q", "the queue q is paused"},
		{task.StatusInterrupted, time.Minute, alive, "", "its time, 2026-01-02T03:05:05Z"},
		{task.StatusRunning, 0, nil, "q", ""},
		{task.StatusFailed, 0, nil, "q", ""},
	} {
		got := task.PendingReason(task.Task{Kind: "k", Queue: "q", Status: c.status, RunAt: now.Add(c.later)}, c.workers, []string{c.paused}, now)
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestPendingReason_KnowsTheQueuesAndTheSlotsOfTheWorkers(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	worker := func(queues []string, slots int, unresponsive ...string) task.WorkerInfo {
		return task.WorkerInfo{Beat: task.Beat{Worker: "w", Kinds: []string{"k"}, Queues: queues, Slots: slots, Unresponsive: unresponsive}}
	}
	queued := task.Task{ID: "1", Kind: "k", Queue: "q", Status: task.StatusQueued, RunAt: now}
	suspect, running := queued, queued
	suspect.CrashStreak, suspect.Suspicion = 2, 0xabc
	running.Status, running.Worker = task.StatusRunning, "w"
	const unserved = `no running worker that knows the kind "k" serves the queue q`
	for _, c := range []struct {
		task    task.Task
		workers []task.WorkerInfo
		want    string
	}{
		{queued, []task.WorkerInfo{worker([]string{"other"}, 1)}, unserved},
		{queued, []task.WorkerInfo{worker([]string{"other"}, 1), worker([]string{"q"}, 1)}, ""},
		{queued, []task.WorkerInfo{worker(nil, 2, "8", "9")}, "unresponsive handlers, which have all slots"},
		{queued, []task.WorkerInfo{worker(nil, 2, "8")}, ""},
		{queued, []task.WorkerInfo{worker(nil, 1, "8"), worker(nil, 1)}, ""},
		{queued, []task.WorkerInfo{worker(nil, 1, "8"), worker([]string{"other"}, 1)}, "unresponsive handlers, which have all slots"},
		{suspect, []task.WorkerInfo{worker(nil, 1)},
			"the turn of its group of suspects, 000000000abc: it was in two crashes in a row, or cut off by three stops, and a worker runs one such group at a time"},
		{running, []task.WorkerInfo{worker(nil, 1, "1")}, "its handler, which does not return though its context has ended"},
		{running, []task.WorkerInfo{worker(nil, 1, "8")}, ""},
	} {
		if got := task.PendingReason(c.task, c.workers, nil, now); got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}
