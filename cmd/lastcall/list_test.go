package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/lastcall-go/lastcall/task"
)

func TestList_NoLineIsWiderThanThePage(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := "0197c0de-0000-7000-8000-000000000000"
	tasks := []task.Task{
		{ID: id, Kind: strings.Repeat("kind", 25), Status: task.StatusInterrupted, Reason: task.ReasonDeadline, Since: now.Add(-40 * 24 * time.Hour), Progress: task.Progress{Fraction: 1}},
		{ID: id, Kind: "k", Status: task.StatusFailed, Error: strings.Repeat("wrong ", 30), Since: now.Add(-time.Minute)},
		{ID: id, Kind: "k", Status: task.StatusFailed, Error: strings.Repeat("空き容量がありません", 20), Since: now.Add(-time.Minute)},
		{ID: id, Kind: "k", Status: task.StatusRunning, Progress: task.Progress{Message: strings.Repeat("नमस्ते ", 30)}, Since: now.Add(-time.Minute)},
	}
	for _, page := range []int{80, 120, 200} {
		var b bytes.Buffer
		if err := printTable(&b, tasks, now, page); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(b.String(), "\n"); lines != len(tasks)+1 {
			t.Errorf("%d lines for %d tasks", lines, len(tasks))
		}
		for line := range strings.Lines(b.String()) {
			if width := runewidth.StringWidth(strings.TrimSpace(line)); width > page {
				t.Errorf("%d columns of %d: %q", width, page, line)
			}
		}
		if page == 200 && !strings.Contains(b.String(), "空き容量") {
			t.Errorf("on %d columns nothing is said of what went wrong:\n%s", page, &b)
		}
		if !strings.Contains(b.String(), "interrupted/deadline  40d    100%") || !strings.Contains(b.String(), id+"  kind") {
			t.Errorf("%s", &b)
		}
	}
}

func TestWorkers_ColumnsAreAlignedWhateverTheirText(t *testing.T) {
	var out strings.Builder
	all := []task.WorkerInfo{{Beat: task.Beat{Host: "計算機", PID: 7, Kinds: []string{"a"}}}, {Beat: task.Beat{Host: "vm", PID: 12345, Kinds: []string{"b"}}}}
	if err := printWorkers(&out, all, time.Now()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	place := func(line, text string) int { return runewidth.StringWidth(line[:strings.LastIndex(line, text)]) }
	if a, b, head := place(lines[1], "a"), place(lines[2], "b"), place(lines[0], "KINDS"); a != b || a != head {
		t.Errorf("the last column begins at %d, %d and %d:\n%s", head, a, b, &out)
	}
}

func TestList_ATaskThatHasSucceededIsDone(t *testing.T) {
	var b bytes.Buffer
	half := task.Progress{Fraction: 0.5}
	tasks := []task.Task{{Kind: "a", Status: task.StatusSucceeded, Progress: half}, {Kind: "b", Status: task.StatusFailed, Progress: half}}
	if err := printTable(&b, tasks, time.Now(), 80); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if !strings.HasSuffix(lines[1], " 100%") || !strings.HasSuffix(lines[2], " 50%") {
		t.Errorf("%s", &b)
	}
}

func TestAge_HasFourCharactersAtMost(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
		998 * 24 * time.Hour: "998d", 9999 * 24 * time.Hour: "long",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestList_WhatATaskSaysCannotMoveTheCursor(t *testing.T) {
	if got := plain("a\x1b[2Jb\nc\u202ed\xff"); got != "a [2Jb c d " {
		t.Errorf("%q", got)
	}
	if got := plainLines("a\tb\x1b[0m\r\n\x00"); got != "a\tb [0m \n " {
		t.Errorf("%q", got)
	}
}
