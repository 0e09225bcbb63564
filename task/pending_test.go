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
