package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// recorded returns the output of go test -json for a module made for this purpose:
// packages that pass, fail, panic, do not build, are killed, or have no tests.
func recorded(t *testing.T) *tests {
	t.Helper()
	f, err := os.Open("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := readEvents(f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func read(t *testing.T, lines ...string) *tests {
	t.Helper()
	got, err := readEvents(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func names(cases []*testCase) []string {
	var out []string
	for _, c := range cases {
		out = append(out, strings.TrimPrefix(c.full(), "example.test/recorded/"))
	}
	return out
}

func TestEvents_EveryKindOfFailureIsFoundOnce(t *testing.T) {
	got := names(recorded(t).failures())
	want := []string{
		"deaf.TestPanics",
		"hang.TestKilled",
		"sour.Example",
		"sour.TestFamily/bad", // and not its silent parent
		"sour.TestWrong",
		"main",    // TestMain failed, every test passed
		"unbuilt", // does not compile
	}
	if !slices.Equal(got, want) {
		t.Errorf("failures are\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestEvents_AFailureIsDescribedInFull(t *testing.T) {
	text := describe(recorded(t))
	for _, want := range []string{
		"want 1, got 2\n        --- want\n        +++ got",
		"printed\n    s_test.go:4: the child's reason",
		"panic: assignment to entry in nil map",
		"undefined: undefined",
		"left something behind",
		"h_test.go:3: about to go",
		"began and never ended",
		"got:\na\nwant:\nb",
		"repeat this order with -shuffle=1795386928191179165",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the description does not contain %q", want)
		}
	}
	for _, noise := range []string{"=== RUN", "--- FAIL: Test", "not shown"} {
		if strings.Contains(text, noise) {
			t.Errorf("the description contains %q, which tells nobody anything", noise)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestEvents_TestsAreCountedWithTheirSubtests(t *testing.T) {
	passed, failed, skipped := recorded(t).count()
	// Passed by package: fine 5, sour 1, "deaf" 1, main 1. Failed: sour 4, "deaf" 1, hang 1,
	// and the packages main and unbuilt.
	if passed != 8 || failed != 8 || skipped != 3 {
		t.Errorf("%d passed, %d failed, %d skipped; want 8, 8, 3", passed, failed, skipped)
	}
}

func TestEvents_SkippedTestsAreNamedWithTheirReason(t *testing.T) {
	got := map[string]string{}
	for _, c := range recorded(t).skipped() {
		got[strings.TrimPrefix(c.full(), "example.test/recorded/")] = reasonOf(c)
	}
	for name, want := range map[string]string{
		"fine.TestNeedsMore": "f_test.go:5: needs a PID namespace, and this machine forbids it",
		"fine.TestHalf/left": "f_test.go:7: no left hand",
		"fine.TestMute":      "it does not say why: give t.Skip a reason",
	} {
		if got[name] != want {
			t.Errorf("%s was skipped because of %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("skipped are %v, want 3 tests", got)
	}
}

func TestEvents_OnlyLeavesAreAmongTheSlowest(t *testing.T) {
	leaves := names(recorded(t).leaves())
	if slices.Contains(leaves, "fine.TestParent") || !slices.Contains(leaves, "fine.TestParent/child") {
		t.Errorf("leaves are %v", leaves)
	}
}

func TestEvents_OutputThatStopsInTheMiddleIsAFailure(t *testing.T) {
	got := read(t,
		`{"Action":"start","Package":"p"}`,
		`{"Action":"run","Package":"p","Test":"TestLost"}`,
		`{"Action":"output","Package":"p","Test":"TestLost","Output":"last words\n"}`)
	if _, failed, _ := got.count(); failed != 1 {
		t.Errorf("%d failed, want 1", failed)
	}
	if text := describe(got); !strings.Contains(text, "last words") {
		t.Errorf("the description lost what the test printed:\n%s", text)
	}
}

func TestEvents_APackageThatBeganAndNeverEndedIsAFailure(t *testing.T) {
	if _, failed, _ := read(t, `{"Action":"start","Package":"p"}`).count(); failed != 1 {
		t.Errorf("%d failed, want 1", failed)
	}
}

func TestEvents_ABuildThatFailedWithoutAPackageIsAFailure(t *testing.T) {
	got := read(t,
		`{"ImportPath":"p","Action":"build-output","Output":"p.go:1:1: what is this\n"}`,
		`{"ImportPath":"p","Action":"build-fail"}`)
	if text := describe(got); !strings.Contains(text, "what is this") {
		t.Errorf("the description is %q", text)
	}
}

func TestEvents_ALineThatIsNoEventIsShown(t *testing.T) {
	got := read(t, `pattern ./...: directory prefix . does not contain main module`)
	r := judge(got, errors.New("exit status 1"), "")
	if !strings.Contains(r.failure, "does not contain main module") {
		t.Errorf("the failure is %q", r.failure)
	}
}

func TestEvents_EitherTheEventsOrTheExitMakeAFailure(t *testing.T) {
	passing := []string{`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p","Test":"TestA"}`}
	failing := []string{`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`}
	if r := judge(read(t, passing...), nil, ""); r.failure != "" {
		t.Errorf("all passed and go test exited with 0, and yet: %s", r.failure)
	}
	if r := judge(read(t, passing...), errors.New("exit status 1"), "go: no such tool"); !strings.Contains(r.failure, "no such tool") {
		t.Errorf("go test exited with 1, and the failure is %q", r.failure)
	}
	if r := judge(read(t, failing...), nil, ""); r.failure == "" {
		t.Error("a test failed, and the module passed because go test exited with 0")
	}
}
