package review

import (
	"bytes"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/lastcall-go/lastcall/rehearse"
)

func at(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// exitsAtOnce is the result of a server that ends at once.
func exitsAtOnce() *rehearse.Result {
	return &rehearse.Result{
		Scenario: rehearse.Delete, Isolation: "PID 1 of its own namespace", URL: "http://127.0.0.1:8080/",
		Events: []rehearse.Event{
			{At: at(0), What: "started", Detail: "./server --port 8080"},
			{At: at(0.05), What: "ready", Detail: "GET / 200"},
			{At: at(2.05), What: "delete", Detail: "the endpoint goes in 1s; grace 30 s"},
			{At: at(2.15), What: "stop signal", Detail: "SIGTERM, and 30s until SIGKILL"},
			{At: at(2.16), What: "exited", Detail: "exit code 0, 0.00 s after the signal"},
			{At: at(2.17), Until: at(3.05), What: "x 78 connections refused or dropped while clients were still sent here",
				Detail: "the first one: new connection, connection refused", Code: rehearse.RefusedEarly},
			{At: at(2.17), What: "kept", Detail: "2 connections were closed without a word, and clients find that out by themselves", Code: rehearse.ClosedUnderRequest},
			{At: at(3.05), What: "endpoint gone", Detail: "nobody connects any more"},
		},
		Findings: []rehearse.Finding{
			{Code: rehearse.RefusedEarly, Fails: true, Seen: "78 connections refused"},
			{Code: rehearse.ClosedUnderRequest, Seen: "2 kept connections closed"},
		},
		Passed: []rehearse.Code{rehearse.NoReaction, rehearse.TooSlow}, Answered: 185, Failed: 78,
	}
}

func oneScenario() *rehearse.Report {
	return &rehearse.Report{Command: []string{"./server", "--port", "8080"}, Results: []rehearse.Result{*exitsAtOnce()}}
}

// severalScenarios are three: one that fails, one that passes, and one whose failure is accepted.
func severalScenarios() *rehearse.Report {
	passes, accepted := *exitsAtOnce(), *exitsAtOnce()
	passes.Scenario, passes.Findings, passes.Failed = rehearse.ForceDelete, nil, 0
	accepted.Scenario = rehearse.HardEviction
	accepted.Findings = []rehearse.Finding{{Code: rehearse.RefusedEarly, Fails: true, Accepted: true, Seen: "3 connections refused"}}
	r := oneScenario()
	r.Results = append(r.Results, passes, accepted)
	r.Stale = []rehearse.Accepted{{Scenario: rehearse.Delete, Code: rehearse.CutOff}}
	return r
}

const timelineOf80 = `            0 s      0.5       1         1.5       2         2.5       3
  program   ·━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▒
  endpoint  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
  LC104                                               ×××××××××××××××××
  LC105                                               ×
  · starting   ━ on   ▒ after the stop signal   × finding

   0.00  started         ./server --port 8080
   0.05  ready           GET / 200
   2.05  delete          the endpoint goes in 1s; grace 30 s
   2.15  stop signal     SIGTERM, and 30s until SIGKILL
   2.16  exited          exit code 0, 0.00 s after the signal
   2.17  x 78 connections refused or dropped while clients were still     LC104
         sent here until 3.05
           the first one: new connection, connection refused
   2.17  kept            2 connections were closed without a word, and    LC105
                         clients find that out by themselves
   3.05  endpoint gone   nobody connects any more
`

func TestPage_OfATerminalIsAsWideAsItIs(t *testing.T) {
	if got := (Page{Columns: 80}).Timeline(exitsAtOnce()); got != timelineOf80 {
		t.Errorf("at 80 columns:\n%s\nwant\n%s", got, timelineOf80)
	}
	for columns := 40; columns < 200; columns += 7 {
		p := Page{Columns: columns}
		for _, r := range []*rehearse.Report{oneScenario(), severalScenarios()} {
			text := p.Timeline(&r.Results[0]) + p.Verdict(r)
			for line := range strings.Lines(text) {
				// The narrowest table needs 52.
				if n := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); n > max(columns, 52) {
					t.Errorf("%d characters at %d columns: %s", n, columns, line)
				}
			}
		}
	}
}

const verdictOfALog = `
fail  LC104  the program refuses connections while clients are still routed to it: 78 connections refused
             Kubernetes removes the endpoint and sends the signal at the same time. Until every proxy has noticed, new clients are still routed here, and get an error.
             Keep accepting connections for some seconds after the signal, or give the pod a preStop sleep of a few seconds.

warn  LC105  the program closes keep-alive connections without notice: 2 kept connections closed
             A client or a proxy that reuses its connection sends its next request into one that is being closed.

FAIL  failed: 1, warnings: 1, passed: 2; 185 requests answered, 78 not; PID 1 of its own namespace
What to change: lastcall rehearse --explain LC104
`

func TestPage_OfALogHasOneLineForEachThing(t *testing.T) {
	if got := (Page{}).Verdict(oneScenario()); got != verdictOfALog {
		t.Errorf("got\n%s\nwant\n%s", got, verdictOfALog)
	}
	timeline := Page{}.Timeline(exitsAtOnce())
	// The picture is seven lines.
	if n, want := strings.Count(timeline, "\n"), len(exitsAtOnce().Events)+7; n != want {
		t.Errorf("%d lines for %d events:\n%s", n, want, timeline)
	}
}

func TestPage_SeveralScenariosShareTheirFindings(t *testing.T) {
	got := (Page{}).Verdict(severalScenarios())
	for _, want := range []string{
		"fail  LC104  the program refuses connections while clients are still routed to it\n" +
			"             delete: 78 connections refused\n             hard-eviction: 3 connections refused\n",
		"note  LC103  the baseline accepts it for delete, where it is not found any more",
		"FAIL  scenarios failed: 1 of 3; checks failed: 1, warnings: 1, passed: 6, accepted: 1; ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwithout\n%s", got, want)
		}
	}
	if n := strings.Count(got, "LC104  "); n != 1 {
		t.Errorf("LC104 is explained %d times:\n%s", n, got)
	}
}

func TestPage_WhatIsAcceptedIsSaidToBeSo(t *testing.T) {
	r := oneScenario()
	for i := range r.Results[0].Findings {
		r.Results[0].Findings[i].Accepted = true
	}
	got := (Page{}).Verdict(r)
	if !strings.Contains(got, "ok    LC104  ") || !strings.Contains(got, "PASS  failed: 0, warnings: 0, passed: 2, accepted: 2") ||
		strings.Contains(got, "What to change") {
		t.Errorf("%s", got)
	}
}

// hostile is text of a program that wants to attack its reader.
const hostile = "\x1b[2J\x07::error::x\r\n::set-env name=A::b ##[error]y ]]> ``` <script>|\xff"

func hostileReport() *rehearse.Report {
	r := oneScenario()
	one := &r.Results[0]
	r.Command = []string{hostile}
	one.Stacks = []rehearse.Stack{{Count: 1, State: hostile, CreatedBy: hostile, Frames: []string{hostile}}}
	one.Skipped = hostile
	one.Isolation, one.URL, one.Output = hostile, hostile, []string{hostile, "::error::z"}
	for i := range one.Events {
		one.Events[i].What, one.Events[i].Detail = hostile, hostile
	}
	for i := range one.Findings {
		one.Findings[i].Seen = hostile
	}
	return r
}

func TestReview_NothingOfTheProgramMovesATerminalOrCommandsARunner(t *testing.T) {
	r, failed := hostileReport(), errors.New(hostile+"\n"+hostile)
	for name, text := range map[string]string{
		"log":         Page{}.Timeline(&r.Results[0]) + Page{}.Verdict(r) + Page{}.Line(&r.Results[0]) + Lines("lastcall: "+failed.Error()),
		"terminal":    Page{Columns: 80}.Timeline(&r.Results[0]) + Page{Columns: 80}.Verdict(r) + Page{}.Live(r.Results[0].Events[0]) + Page{}.Line(&r.Results[0]),
		"head":        Page{}.Head(&rehearse.Config{Program: rehearse.Container{Command: r.Command}}, 0),
		"annotations": written(t, func(b *bytes.Buffer) error { return Annotations(b, hostile, r, failed) }),
		"summary":     written(t, func(b *bytes.Buffer) error { return Summary(b, r, failed) }),
		"junit":       written(t, func(b *bytes.Buffer) error { return JUnit(b, r, failed) }),
	} {
		for line := range strings.Lines(text) {
			if at := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }); at >= 0 {
				t.Errorf("%s has %q", name, line)
			}
			if command := strings.HasPrefix(strings.TrimSpace(line), "::"); command != (name == "annotations") && name != "summary" && name != "terminal" {
				t.Errorf("%s: %q is a command: %v", name, line, command)
			}
			if strings.Contains(line, "##[") {
				t.Errorf("%s: %q is a command", name, line)
			}
		}
	}
}

func TestJUnit_OfAHostileProgramIsWhole(t *testing.T) {
	text := written(t, func(b *bytes.Buffer) error { return JUnit(b, hostileReport(), errors.New(hostile)) })
	var read junitSuites
	if err := xml.Unmarshal([]byte(text), &read); err != nil || read.Errors != 1 || read.Failures != 1 {
		t.Errorf("%v: %+v", err, read)
	}
}

func TestReview_AProgramThatWritesWithoutEndDoesNotFillTheReport(t *testing.T) {
	r := oneScenario()
	r.Results[0].Output = []string{strings.Repeat("x", 1<<20)}
	r.Results[0].Events[0].Detail = r.Results[0].Output[0]
	for name, text := range map[string]string{
		"page": Page{}.Timeline(&r.Results[0]), "summary": written(t, func(b *bytes.Buffer) error { return Summary(b, r, nil) }),
		"junit": written(t, func(b *bytes.Buffer) error { return JUnit(b, r, nil) }), "html": page(t, r, nil),
	} {
		if len(text) > 64<<10 {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
}

func TestSummary_TextOfTheProgramIsNoMarkup(t *testing.T) {
	for _, text := range []string{"", "a", "`", "a``b", "```", "``` ` ``", "<b>|</b>", "`a`"} {
		span := code(text)
		quote := span[:len(span)-len(strings.TrimLeft(span, "`"))]
		if inside := strings.TrimSuffix(strings.TrimPrefix(span, quote), quote); text != "" && (strings.Contains(inside, quote) || strings.TrimSpace(inside) != text) {
			t.Errorf("%q becomes %q", text, span)
		}
		block := fenced(text + "\n")
		fence, rest, _ := strings.Cut(block, "text\n")
		if len(fence) < 3 || strings.Count(rest, fence) != 1 || !strings.HasSuffix(rest, "\n"+fence+"\n") {
			t.Errorf("%q becomes %q", text, block)
		}
	}
}

func written(t *testing.T, write func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPage_SaysWhereAProgramStoodThatHadNotEnded(t *testing.T) {
	r := exitsAtOnce()
	for i := range 7 {
		r.Stacks = append(r.Stacks, rehearse.Stack{
			Count: i + 1, State: "chan receive", CreatedBy: "main.main",
			Frames: []string{"main.consume /home/me/src/app/worker/main.go:18", "a", "b", "c", "not shown"},
		})
	}
	got := (Page{}).Timeline(r)
	for _, want := range []string{
		"where it stood when its time was over:\n           1 x chan receive, started by main.main\n             main.consume worker/main.go:18\n",
		"and in 2 more places",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwithout\n%s", got, want)
		}
	}
	if strings.Contains(got, "not shown") || strings.Contains(got, "6 x ") {
		t.Errorf("it is too much:\n%s", got)
	}
}

func TestReview_AScenarioThatWasSkippedIsNeitherAPassNorAFailure(t *testing.T) {
	r := &rehearse.Report{Results: []rehearse.Result{{Scenario: rehearse.Frozen, Skipped: "it does not become ready any more"}}}
	for name, got := range map[string]struct{ text, want string }{
		"page":    {(Page{}).Line(&r.Results[0]), "SKIP  frozen            not rehearsed: it does not become ready any more\n"},
		"summary": {written(t, func(b *bytes.Buffer) error { return Summary(b, r, nil) }), "| frozen | ➖ skipped |"},
		"junit":   {written(t, func(b *bytes.Buffer) error { return JUnit(b, r, nil) }), `<skipped message="it does not become ready any more">`},
		"html":    {page(t, r, nil), "not rehearsed: it does not become ready any more"},
	} {
		if !strings.Contains(got.text, got.want) {
			t.Errorf("%s: got\n%s\nwithout %s", name, got.text, got.want)
		}
	}
}

func TestJUnit_HasATestForEachCheckOfEachScenario(t *testing.T) {
	text := written(t, func(b *bytes.Buffer) error { return JUnit(b, severalScenarios(), nil) })
	var read junitSuites
	if err := xml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	if read.Tests != 9 || read.Failures != 1 || read.Skipped != 1 || read.Errors != 0 || len(read.Suites) != 3 || read.Time != "9.15" {
		t.Errorf("%+v", read)
	}
	first := read.Suites[0].Cases[0]
	if first.Failure == nil || first.Failure.Type != "LC104" || first.Failure.Message != "78 connections refused" ||
		first.Name != "no LC104: the program refuses connections while clients are still routed to it" {
		t.Errorf("%+v", first)
	}
	if warned := read.Suites[0].Cases[1]; warned.Failure != nil || !strings.HasPrefix(warned.SystemOut, "warning: 2 kept") {
		t.Errorf("%+v", warned)
	}
}

func TestJUnit_ARehearsalThatFailedIsAnError(t *testing.T) {
	text := written(t, func(b *bytes.Buffer) error { return JUnit(b, nil, errors.New("no such file\nits last lines: none")) })
	var read junitSuites
	if err := xml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	if read.Errors != 1 || read.Suites[0].Cases[0].Error == nil || !strings.Contains(read.Suites[0].Cases[0].Error.Text, "its last lines") {
		t.Errorf("%+v", read)
	}
}

// unescaped reads an annotation as the runner of GitHub does.
func unescaped(line string) (level, file, title, text string) {
	rest, _ := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "::")
	head, text, _ := strings.Cut(rest, "::")
	level, properties, _ := strings.Cut(head, " ")
	undo := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	for one := range strings.SplitSeq(properties, ",") {
		if value, ok := strings.CutPrefix(one, "title="); ok {
			title = undo.Replace(value)
		}
		if value, ok := strings.CutPrefix(one, "file="); ok {
			file = undo.Replace(value)
		}
	}
	return level, file, title, undo.Replace(text)
}

func TestAnnotations_AreReadBackByTheRunner(t *testing.T) {
	r := oneScenario()
	r.Results[0].Findings[0].Seen = "100 % of all: 3, 4"
	lines := strings.SplitAfter(strings.TrimSuffix(written(t, func(b *bytes.Buffer) error { return Annotations(b, "./deploy/a,b.yaml", r, nil) }), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d annotations: %q", len(lines), lines)
	}
	level, file, title, text := unescaped(lines[0])
	if level != "error" || file != "deploy/a,b.yaml" || title != "LC104 the program refuses connections while clients are still routed to it" ||
		!strings.HasPrefix(text, "delete: 100 % of all: 3, 4\nKubernetes removes the endpoint") {
		t.Errorf("%q, %q, %q, %q", level, file, title, text)
	}
	if level, _, title, _ := unescaped(lines[1]); level != "warning" || title != "LC105 the program closes keep-alive connections without notice" {
		t.Errorf("%q, %q", level, title)
	}
}
