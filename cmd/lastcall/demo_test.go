package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// smallDemo is a demonstration on a tree of two directories.
func smallDemo(t *testing.T) *demonstration {
	t.Helper()
	tree := t.TempDir()
	for _, name := range []string{"a/1", "b/2"} {
		path := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	d := &demonstration{tree: tree, dir: filepath.Join(t.TempDir(), "demo"), grace: time.Second, concurrency: 1, workers: 1}
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDemo_ADemonstrationGoesOnWithWhatIsLeftAndBeginsAnewWhenNothingIs(t *testing.T) {
	g, d := newFixture(t), smallDemo(t)
	first, goesOn, err := d.plan(t.Context(), g.client)
	if err != nil || goesOn || len(first) != demoTasks {
		t.Fatalf("%d tasks, %v, %v", len(first), goesOn, err)
	}
	for _, id := range first[1:] {
		if err := g.client.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	again, goesOn, err := d.plan(t.Context(), g.client)
	if err != nil || !goesOn || strings.Join(again, " ") != strings.Join(first, " ") {
		t.Errorf("one is left: %d tasks, %v, %v", len(again), goesOn, err)
	}
	if err := g.client.Cancel(t.Context(), first[0]); err != nil {
		t.Fatal(err)
	}
	anew, goesOn, err := d.plan(t.Context(), g.client)
	if err != nil || goesOn || len(anew) != demoTasks || anew[0] == first[0] {
		t.Errorf("none is left: %d tasks, %v, %v", len(anew), goesOn, err)
	}
}

func TestDemo_ADemonstrationsFlagsMustFitTogether(t *testing.T) {
	for _, args := range [][]string{{"--workers", "3"}, {"--roll", "--workers", "0"}, {"--roll", "--stop-after", "1s"}, {"--grace", "0s"}, {"--concurrency", "0"}} {
		if _, _, err := run(t, append([]string{"demo", "--dir", t.TempDir()}, args...)...); !errors.As(err, new(usageError)) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestView_ThePictureOfTasksFitsAndTellsThePhase(t *testing.T) {
	v := newView(&bytes.Buffer{}, nil, nil)
	var tasks []task.Task
	for i := range 60 {
		status := []task.Status{task.StatusSucceeded, task.StatusRunning, task.StatusInterrupted, task.StatusQueued}[i%4]
		tasks = append(tasks, task.Task{ID: string(rune('A' + i)), Kind: "gzip-tree", Status: status, Runs: 2, Payload: []byte(`{"dir": "/` + strings.Repeat("long", 20) + `"}`)})
	}
	lines := v.picture(tasks, "drain", 1500*time.Millisecond, true)
	if len(lines) > 20 || lines[1] != "phase drain       1.5s left" || !strings.HasPrefix(lines[0], "█▸‖·") {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) >= defaultColumns {
			t.Errorf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
}

func TestView_WhereNobodyWatchesADemonstrationPrintsALineForEachChange(t *testing.T) {
	var b bytes.Buffer
	v := newView(&b, nil, nil)
	one := task.Task{ID: "1", Kind: "hash-tree", Payload: []byte(`{"dir": "/x/sort"}`), Status: task.StatusQueued}
	v.show([]task.Task{one}, "running", 0, false)
	one.Status = task.StatusRunning
	for range 3 {
		v.show([]task.Task{one}, "running", 0, false)
	}
	v.show([]task.Task{one}, "drain", 2*time.Second, true)
	one.Status, one.Reason, one.Progress.Fraction = task.StatusInterrupted, task.ReasonStop, 0.4
	v.show([]task.Task{one}, "interrupt", time.Second, true)
	want := " 1 hash sort                    0%  running\nstop: drain, 2.0s left\nstop: interrupt, 1.0s left\n 1 hash sort                   40%  interrupted/stop\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

func TestRollout_IsJudgedByTheHistoriesOfItsTasks(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	cut := httpapi.Run{StartedAt: at(1), EndedAt: at(2), Status: task.StatusInterrupted}
	good := httpapi.Run{StartedAt: at(5), EndedAt: at(9), Status: task.StatusSucceeded}
	early := httpapi.Run{StartedAt: at(1), EndedAt: at(9), Status: task.StatusSucceeded}
	done, failed := task.Task{ID: "id", Status: task.StatusSucceeded}, task.Task{ID: "id", Status: task.StatusFailed, Error: "no good"}
	for _, c := range []struct {
		t    task.Task
		runs []httpapi.Run
		want string
	}{
		{done, []httpapi.Run{cut, good}, ""},
		{done, []httpapi.Run{cut, early}, "two runs at the same time"},
		{done, []httpapi.Run{{StartedAt: at(0)}, good}, "two runs at the same time"},
		{done, []httpapi.Run{{StartedAt: at(0), EndedAt: at(1), Status: task.StatusSucceeded}, good}, "was done 2 times"},
		{failed, []httpapi.Run{cut}, "is failed: no good"},
		{done, nil, "is succeeded"},
	} {
		var v verdict
		v.add(c.t, c.runs)
		if got := strings.Join(v.wrong, "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.runs, got, c.want)
		}
		if praised := strings.Contains(strings.Join(v.lines(), "\n"), "no task was done twice"); praised != (c.want == "") {
			t.Errorf("%+v: %v", c.runs, v.lines())
		}
	}
	var v verdict
	v.add(done, []httpapi.Run{cut, good})
	if lines := v.lines(); lines[0] != "1 of 1 tasks have succeeded" || !strings.Contains(lines[1], "1 runs were handed over") || !strings.Contains(lines[1], "3s at most") {
		t.Errorf("%q", lines)
	}
}
