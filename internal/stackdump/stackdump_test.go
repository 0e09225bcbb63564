package stackdump

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTake_ShowsLabelsAndFramesOfAGoroutine(t *testing.T) {
	stop, ended := make(chan struct{}), make(chan struct{})
	started := make(chan struct{})
	go func() {
		defer close(ended)
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("stackdump", "here\nand \"there\"")))
		close(started)
		waitHere(stop)
	}()
	<-started
	defer func() { close(stop); <-ended }()
	for r := range Take() {
		if r.Label("stackdump") != "here\nand \"there\"" {
			continue
		}
		var stack strings.Builder
		for f := range r.Frames() {
			stack.WriteString(f.String())
		}
		if r.Count() != "1" || r.Truncated() || !strings.Contains(stack.String(), "internal/stackdump.") ||
			!strings.Contains(stack.String(), "stackdump_test.go:") {
			t.Errorf("%s goroutines at\n%s", r.Count(), &stack)
		}
		return
	}
	t.Error("the profile does not show the goroutine's label")
}

//go:noinline
func waitHere(until <-chan struct{}) { <-until }

const twoRecords = `goroutine profile: total 4
3 @ 0x1 0x2
# labels: {"a":"1"}
#	0x1	main.f+0x2f	/src/a dir/a.go:7
#	0x2	main.main+0x1		/src/a.go:8

1 @ 0x1
#	0x1	main.unlabelled+0x2f	/src/a.go:9

`

func TestParse_ReturnsRecordsWithLabels(t *testing.T) {
	var got []string
	for r := range Parse(twoRecords) {
		for f := range r.Frames() {
			got = append(got, fmt.Sprintf("%s %s %s %s", r.Count(), r.Label("a"), f.Func, f.Place))
		}
	}
	if want := "3 1 main.f /src/a dir/a.go:7|3 1 main.main /src/a.go:8"; strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRecord_LabelIsReadFromItsOwnKeyOnly(t *testing.T) {
	for _, c := range []struct{ labels, want string }{
		{`{"lastcall":"a"}`, "a"},
		{`{"lastcall.kind":"go", "lastcall":"a"}`, "a"},
		{`{"a":"\"lastcall\":\"no\"", "lastcall":"yes"}`, "yes"},
		{`{"lastcall":"say \"hi\"\nthen go"}`, "say \"hi\"\nthen go"},
		{`{"lastcall":"unfinished`, ""},
		{`{"lastcall":}`, ""},
		{``, ""},
	} {
		if got := (Record{labels: c.labels}).Label("lastcall"); got != c.want {
			t.Errorf("%s: %q, want %q", c.labels, got, c.want)
		}
	}
}

func TestRecord_WithAsManyFramesAsTheRuntimeRecordsIsTruncated(t *testing.T) {
	for n, want := range map[int]bool{1: false, maxFrames - 1: false, maxFrames: true} {
		if got := (Record{head: "1 @" + strings.Repeat(" 0x4f", n)}).Truncated(); got != want {
			t.Errorf("%d frames: %v", n, got)
		}
	}
}

// FuzzParse_AnyText checks that no text makes the parser panic.
func FuzzParse_AnyText(f *testing.F) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add(twoRecords)
	f.Add("\n\n# labels: \n\n\n# labels: {\"a\":\"7\"}\n#\n")
	f.Fuzz(func(t *testing.T, profile string) {
		for r := range Parse(profile) {
			_, _, _ = r.Count(), r.Label("a"), r.Truncated()
			for frame := range r.Frames() {
				if frame.Place == "" {
					t.Errorf("%+v has no place", frame)
				}
			}
		}
	})
}

// FuzzStacks_ALabelIsReadFromAnyText checks that every value can be read back from the form in
// which the profile writes it, whatever other labels the goroutine has.
func FuzzStacks_ALabelIsReadFromAnyText(f *testing.F) {
	for _, value := range []string{"plain", `with "quotes"`, "with\nnewlines\n\n# labels: {}", "grüße 任务 🚀",
		`{"label":"fake"}`, `back\slash`, "tab\tand\x00nul", `"`, "a, b: c"} {
		f.Add(value, "key", "value")
	}
	f.Add("a", `label":"b`, `"label":"c"`)
	f.Fuzz(func(t *testing.T, value, otherKey, otherValue string) {
		if otherKey == "label" || !utf8.ValidString(value) {
			return
		}
		labels := fmt.Sprintf("{%s:%s, %s:%s}", strconv.Quote(otherKey), strconv.Quote(otherValue), strconv.Quote("label"),
			strconv.Quote(value))
		if got := (Record{labels: labels}).Label("label"); got != value {
			t.Errorf("%q became %q in %s", value, got, labels)
		}
	})
}
