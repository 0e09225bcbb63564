//go:build !norehearse

package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/rehearse"
)

// seenOn returns what a terminal shows after it got a text. The text moves the cursor only up some
// lines, and clears what is below.
func seenOn(t *testing.T, text string) []string {
	t.Helper()
	text = regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(text, "")
	lines := []string{""}
	for text != "" {
		if up := regexp.MustCompile("^\x1b\\[([0-9]+)A\x1b\\[J").FindStringSubmatch(text); up != nil {
			n, err := strconv.Atoi(up[1])
			if err != nil || n >= len(lines) || lines[len(lines)-1] != "" {
				t.Fatalf("up %s from line %d: %q", up[1], len(lines), lines)
			}
			lines = append(lines[:len(lines)-1-n], "")
			text = text[len(up[0]):]
			continue
		}
		next, rest, ended := strings.Cut(text, "\n")
		if at := strings.Index(next, "\x1b"); at >= 0 {
			t.Fatalf("signs within a line: %q", next)
		}
		lines[len(lines)-1] += next
		if ended {
			lines = append(lines, "")
		}
		text = rest
	}
	return lines
}

// shownLines plays a rehearsal of scenarios, each of which has the same events, and returns what is
// seen.
func shownLines(t *testing.T, events []rehearse.Event, failed error, scenarios ...rehearse.Scenario) []string {
	t.Helper()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	var out, remarks bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&screen{to: &out})
	cmd.SetErr(&remarks)
	c := rehearse.Config{Program: rehearse.Container{Command: []string{"./server"}}, Grace: time.Second, Rate: 50, Scenarios: scenarios}
	var o rehearsalOutput
	if err := o.begin(cmd, &c); err != nil {
		t.Fatal(err)
	}
	report := &rehearse.Report{Command: c.Program.Command}
	for i, s := range scenarios {
		c.Begin(s)
		for _, e := range events {
			c.Watch(e)
		}
		if failed != nil {
			report = nil
			break
		}
		// The events of a result are in order.
		r := rehearse.Result{Scenario: s, Events: []rehearse.Event{events[1], events[0]}}
		if i == 0 {
			r.Findings = []rehearse.Finding{{Code: rehearse.CutOff, Fails: true, Seen: "3 requests"}}
		}
		c.End(&r)
		report.Results = append(report.Results, r)
	}
	if err := o.report(report, failed); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[") {
		t.Errorf("a terminal gets no colors: %q", out.String())
	}
	return seenOn(t, out.String())
}

// late is reported first, but happened last.
var lateAndEarly = []rehearse.Event{{At: 2 * time.Second, What: "late"}, {At: time.Second, What: "early"}}

// count returns how many lines have a text.
func count(lines []string, text string) (n int) {
	for _, line := range lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestRehearse_ATerminalShowsEachEventOnceAndInOrder(t *testing.T) {
	lines := shownLines(t, lateAndEarly, nil, rehearse.Delete)
	text := strings.Join(lines, "\n")
	if count(lines, "late") != 1 || count(lines, "early") != 1 || strings.Index(text, "early") > strings.Index(text, "late") || count(lines, "delete") != 1 {
		t.Errorf("it shows\n%s", text)
	}
}

func TestRehearse_OfSeveralScenariosThoseThatPassAreALineEach(t *testing.T) {
	lines := shownLines(t, lateAndEarly, nil, rehearse.Delete, rehearse.ForceDelete, rehearse.HardEviction)
	if count(lines, "late") != 1 || count(lines, "FAIL  delete ") != 1 || count(lines, "PASS  force-delete ") != 1 || count(lines, "PASS  hard-eviction ") != 1 {
		t.Errorf("it shows\n%s", strings.Join(lines, "\n"))
	}
}

func TestRehearse_WhatWasSeenBeforeARehearsalFailedStaysThere(t *testing.T) {
	lines := shownLines(t, lateAndEarly, errors.New("no such file"), rehearse.Delete)
	if count(lines, "late") != 1 || count(lines, "early") != 1 {
		t.Errorf("it shows\n%s", strings.Join(lines, "\n"))
	}
}

// A timeline that is longer than the terminal cannot be taken back.
func TestRehearse_ATerminalIsNotWipedWhereItsLinesHaveGone(t *testing.T) {
	var many []rehearse.Event
	for range 60 {
		many = append(many, lateAndEarly...)
	}
	lines := shownLines(t, many, nil, rehearse.Delete)
	if n := count(lines, "late"); n != 61 {
		t.Errorf("late is there %d times:\n%s", n, strings.Join(lines, "\n"))
	}
}

// A command line that is pasted from the help or from the page has only flags that exist.
func TestRehearse_TheHelpAndThePageHaveNoFlagThatIsNotThere(t *testing.T) {
	page, err := os.ReadFile("../../docs/rehearse.md")
	if err != nil {
		t.Fatal(err)
	}
	cmd, seen := newRehearse(), 0
	for _, text := range []string{string(page), cmd.Long, cmd.Example} {
		// The flags of the rehearsed program are its own.
		text = regexp.MustCompile(" -- [^`\n]*").ReplaceAllString(text, "")
		for _, found := range regexp.MustCompile(`[^-\w]--([a-z][a-z-]*)`).FindAllStringSubmatch(text, -1) {
			seen++
			// --port is of the rehearsed server, --report-on-signal of Node.js.
			if cmd.Flags().Lookup(found[1]) == nil && found[1] != "port" && found[1] != "report-on-signal" {
				t.Errorf("there is no --%s", found[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d flags were looked for", seen)
	}
}
