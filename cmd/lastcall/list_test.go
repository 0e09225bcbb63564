package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

func TestList_NoLineOfAListIsWiderThanEightyCharacters(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := "0197c0de-0000-7000-8000-000000000000"
	tasks := []task.Task{
		{ID: id, Kind: strings.Repeat("kind", 25), Status: task.StatusInterrupted, Reason: task.ReasonDeadline, Since: now.Add(-40 * 24 * time.Hour), Progress: task.Progress{Fraction: 1}},
		{ID: id, Kind: "k", Status: task.StatusFailed, Error: strings.Repeat("wrong ", 30), Since: now.Add(-time.Minute)},
	}
	for n := range tasks {
		var b bytes.Buffer
		if err := printTable(&b, tasks[:n+1], now); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(b.String(), "\n"); lines != n+2 {
			t.Errorf("%d lines for %d tasks", lines, n+1)
		}
		for line := range strings.Lines(b.String()) {
			if width := utf8.RuneCountInString(strings.TrimSpace(line)); width > 80 {
				t.Errorf("%d characters: %q", width, line)
			}
		}
	}
	var b bytes.Buffer
	if err := printTable(&b, tasks, now); err != nil || !strings.Contains(b.String(), "interrupted/deadline  40d    100%") || !strings.Contains(b.String(), id+"  kind") {
		t.Errorf("%v\n%s", err, &b)
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
