package lastcall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

func TestReport_TheWorstPartOfAReportDecidesTheExitCode(t *testing.T) {
	line, failure := []Entry{{Count: 1}}, []error{errBroken}
	for want, reports := range map[int][]Report{
		0:  {{}, {Finished: line}, {BackgroundErrors: 7}, {Signal: syscall.SIGTERM, Frozen: time.Second}},
		75: {{Interrupted: line}, {Interrupted: line, Finished: line}},
		1:  {{Failures: failure}, {Failures: failure, Interrupted: line}},
		3:  {{Abandoned: line}, {Abandoned: line, Failures: failure, Interrupted: line}},
	} {
		for _, r := range reports {
			if got := r.ExitCode(); got != want {
				t.Errorf("%+v: code %d, want %d", r, got, want)
			}
		}
	}
}

func TestReport_IsASummaryThenTheWorstFirstThenTheStacks(t *testing.T) {
	r := Report{
		Signal: syscall.SIGTERM, Took: 12345678 * time.Microsecond, Frozen: 2 * time.Second,
		Finished:         []Entry{{Kind: EntryRequest, Name: "api", Count: 3, CallSite: "app/main.go:10"}},
		Interrupted:      []Entry{{Kind: EntryGo, Name: "import", Count: 1, Age: time.Minute, CallSite: "app/main.go:20", Err: errBroken}},
		Abandoned:        []Entry{{Kind: EntryLoop, Name: "poll", Count: 2, Age: time.Hour, CallSite: "app/main.go:30", Stack: "  main.poll\n      /src/app/main.go:31\n"}},
		Failures:         []error{errors.New("go export: no space")},
		BackgroundErrors: 4,
	}
	const want = `stopped by SIGTERM in 12.346s, exit code 3: 3 finished, 1 interrupted, 2 abandoned
the process was frozen for about 2s meanwhile
abandoned   loop poll x2, 1h0m0s old, started at app/main.go:30
failed      go export: no space
failed      4 times in the background
interrupted go import, 1m0s old, started at app/main.go:20: the disk is full
finished    request api x3, started at app/main.go:10

loop poll is at
  main.poll
      /src/app/main.go:31
`
	if got := r.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := (Report{Cause: errBroken}).String(); !strings.HasPrefix(got, "stopped by a failure in 0s") {
		t.Errorf("%q", got)
	}
	if got := (Report{}).String(); got != "stopped in 0s, exit code 0: 0 finished, 0 interrupted, 0 abandoned\n" {
		t.Errorf("%q", got)
	}
}

func TestReport_LinesGoFromTheOldestAndThenByName(t *testing.T) {
	entries := []Entry{
		{Name: "b", Age: time.Second}, {Name: "a", Age: time.Second + time.Millisecond},
		{Name: "old", Age: time.Hour}, {Name: "a", Kind: EntryGo, Age: time.Second}, {Name: "new"},
	}
	sortEntries(entries)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name)
	}
	if want := []string{"old", "a", "a", "b", "new"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestReport_NoNameAndNoErrorMakesALineOfItsOwn(t *testing.T) {
	const forged = "x\nabandoned   go forged\x1b[31m\u202e\xff"
	r := Report{
		Abandoned:   []Entry{{Kind: EntryGo, Name: forged, Count: 1, Stack: "  main.f\n"}},
		Interrupted: []Entry{{Kind: EntryRequest, Name: forged, Count: 1, Err: errors.New(forged)}},
		Finished:    []Entry{{Kind: EntryCloser, Name: forged, Count: 1}},
		Failures:    []error{errors.Join(errors.New(forged), errors.New("second"))},
	}
	text := r.String()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "abandoned   go forged") || strings.ContainsAny(line, "\x1b\u202e") || !utf8.ValidString(line) {
			t.Errorf("a line was forged: %q in\n%s", line, text)
		}
	}
	if !strings.Contains(text, `x\nabandoned   go forged\x1b[31m\u202e\xff`) || !strings.Contains(text, "\n            second\n") {
		t.Errorf("%s", text)
	}
	if got := escaped(`GET /a "b" äö`); got != `GET /a "b" äö` {
		t.Errorf("text is %q", got)
	}
}

func TestNote_StandsInTheReportBelowTheSummary(t *testing.T) {
	g, _ := newTestGroup(t)
	mustStart(t, g.Go("worker", func(ctx context.Context) error {
		<-LastCall(ctx)
		AddNote(ctx, "tasks", "1 finished")
		AddNote(ctx, "mails", "3\nfailed      sent")
		AddNote(ctx, "tasks", "2 finished, 6 interrupted (stop)")
		return nil
	}))
	g.Stop(nil)
	r := g.Wait()
	if len(r.Notes) != 2 || r.Notes[0] != (Note{"tasks", "2 finished, 6 interrupted (stop)"}) {
		t.Errorf("%+v", r.Notes)
	}
	want := "0 abandoned\ntasks: 2 finished, 6 interrupted (stop)\nmails: 3\\nfailed      sent\nfinished    go worker"
	if !strings.Contains(r.String(), want) {
		t.Errorf("%s\nwant %s", r, want)
	}
	AddNote(g.Context(t.Context()), "tasks", "late")
	AddNote(t.Context(), "tasks", "of nobody")
	if got := g.Wait(); got.Notes[0].Text != "2 finished, 6 interrupted (stop)" {
		t.Errorf("after the report: %+v", got.Notes)
	}
}

func TestNote_AGroupKeepsAHundred(t *testing.T) {
	g, _ := newTestGroup(t)
	for n := range 2 * maxNotes {
		AddNote(g.Context(t.Context()), fmt.Sprint(n), "text")
	}
	g.Stop(nil)
	if r := g.Wait(); len(r.Notes) != maxNotes {
		t.Errorf("%d notes", len(r.Notes))
	}
}
