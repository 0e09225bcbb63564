package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

func TestShow_TheStoryOfATaskTellsEveryRunAndWhyItEnded(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 2, 3, 4, s, 0, time.Local) }
	story := httpapi.Task{
		ID: "id", Kind: "k", Queue: "q", Status: task.StatusRunning, Runs: 8, Attempts: 1, Interruptions: 1, Crashes: 1, Suspicion: "00000000abcd", Since: at(40), Payload: []byte(`{}`),
		Progress: httpapi.Progress{Fraction: 0.4, Message: "file \x1b[2J"}, Checkpoint: []byte(`{"row":7}`),
		Steps: []httpapi.Step{
			{Name: "pull", State: task.StepDone, Place: 1, Version: "v1", SavedAt: at(1), Size: 20},
			{Name: "rows/all", State: task.StepOpen, Place: 2, SavedAt: at(41), Size: 26},
			{Name: "notify", State: task.StepSkipped, SavedAt: at(3)},
		},
		History: []httpapi.Run{
			{Host: "h1", PID: 11, Worker: "w1", StartedAt: at(0), EndedAt: at(2), Status: task.StatusInterrupted, Reason: task.ReasonStop},
			{Host: "h2", PID: 12, Worker: "w2", StartedAt: at(5), EndedAt: at(6), Status: task.StatusInterrupted, Reason: task.ReasonLost, Crashed: true, Reclaimed: true},
			{Host: "h3", PID: 13, Worker: "w3", StartedAt: at(8), EndedAt: at(9), Status: task.StatusQueued, Error: "exit code 1"},
			{Host: "h3", PID: 13, Worker: "w3", StartedAt: at(10), EndedAt: at(10), Status: task.StatusQueued},
			{Host: "h4", PID: 14, Worker: "w4", StartedAt: at(40), Status: task.StatusRunning},
		},
	}
	var b bytes.Buffer
	if err := printStory(&b, story, at(45)); err != nil {
		t.Fatal(err)
	}
	want := `task     id
kind     k, queue q, priority 0
status   running since 2026-01-02 03:04:40, 5s ago
created  0001-01-01 00:00:00
payload  {}
counts   8 runs, 1 attempts, 1 interruptions, 1 crashes
suspect  of the group 00000000abcd: it was in two crashes in a row, or cut off by three stops, and a worker runs one such group at a time
done     40% "file \x1b[2J"
saved    {"row":7}
steps    pull      2026-01-02 03:04:01  done, 20 bytes, version v1
         rows/all  2026-01-02 03:04:41  open, goes on behind its cursor, 26 bytes
         notify    2026-01-02 03:04:03  skipped
runs     3 earlier ones are no longer kept
run 4    2026-01-02 03:04:00 for 2s, on h1, pid 11, worker w1
         interrupted (stop: its process was told to end)
run 5    2026-01-02 03:04:05 for 1s, on h2, pid 12, worker w2, resumed 3s after the run before
         interrupted (its process died; recorded by another worker)
run 6    2026-01-02 03:04:08 for 1s, on h3, pid 13, worker w3, resumed 2s after the run before
         queued (to be tried again): exit code 1
run 7    2026-01-02 03:04:10 for 0s, on h3, pid 13, worker w3, resumed 1s after the run before
         queued (without an attempt)
run 8    2026-01-02 03:04:40, 5s so far, on h4, pid 14, worker w4, resumed 30s after the run before
         running
`
	if got := strings.Replace(b.String(), "created  "+local(time.Time{})+" "+time.Time{}.Local().Format("MST"), "created  0001-01-01 00:00:00", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
