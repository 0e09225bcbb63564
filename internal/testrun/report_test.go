package main

import (
	"strings"
	"testing"
	"time"
)

// finish prints the end of a report and returns its text, its last line and the exit code.
func finish(t *testing.T, s *summary, ci bool, allowed map[string]string) (text, last string, code int) {
	t.Helper()
	var b strings.Builder
	code = s.finish(&b, ci, allowed, 0)
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	return b.String(), lines[len(lines)-1], code
}

func summaryOf(t *testing.T, results map[string]result) *summary {
	t.Helper()
	var s summary
	for name, r := range results {
		s.add(name, r)
	}
	return &s
}

func TestReport_TheLastLineIsTheCount(t *testing.T) {
	s := summaryOf(t, map[string]result{
		"go vet .":  {},
		"go test .": judge(recorded(t), nil, ""),
		"tidy":      failed("not tidy\n"),
	})
	text, last, code := finish(t, s, false, nil)
	if want := "9 passed, 9 failed, 3 skipped"; last != want || code != 1 {
		t.Errorf("the last line is %q with exit code %d, want %q with 1", last, code, want)
	}
	if !strings.Contains(text, "example.test/recorded/fine.TestNeedsMore: f_test.go:5: needs a PID namespace") {
		t.Errorf("the skipped test is not named with its reason:\n%s", text)
	}
}

func TestLeftOut_WhatIsLeftOutFailsOnlyOnCI(t *testing.T) {
	results := map[string]result{"gofmt": {}, "shellcheck": leftOut("shellcheck is not installed: run make setup")}
	text, last, code := finish(t, summaryOf(t, results), false, nil)
	if code != 0 || last != "1 passed, 0 failed, 1 skipped" ||
		!strings.Contains(text, "shellcheck: shellcheck is not installed") {
		t.Errorf("without CI: exit code %d\n%s", code, text)
	}
	text, _, code = finish(t, summaryOf(t, results), true, nil)
	if code != 1 || !strings.Contains(text, "[not allowed on CI]") {
		t.Errorf("with CI: exit code %d\n%s", code, text)
	}
}

func TestLeftOut_AnAllowanceIsListedAndCoversOnlyItsName(t *testing.T) {
	allowed := map[string]string{"govulncheck": "offline"}
	results := map[string]result{"gofmt": {}, "govulncheck": leftOut("no such host")}
	text, _, code := finish(t, summaryOf(t, results), true, allowed)
	if code != 0 || !strings.Contains(text, "govulncheck: no such host [allowed: offline]") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	results["staticcheck ."] = leftOut("staticcheck is not installed: run make setup")
	if text, _, code = finish(t, summaryOf(t, results), true, allowed); code != 1 {
		t.Errorf("an allowance for govulncheck excused staticcheck\n%s", text)
	}
	results = map[string]result{"gofmt": {}, "govulncheck": failed("a known vulnerability\n")}
	if text, _, code = finish(t, summaryOf(t, results), true, allowed); code != 1 {
		t.Errorf("an allowance to leave govulncheck out excused its failure\n%s", text)
	}
}

func TestReport_ARunOfNothingFails(t *testing.T) {
	if text, _, code := finish(t, &summary{}, false, nil); code != 1 {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestReport_AGoTestThatFailedWithoutAnEventCounts(t *testing.T) {
	s := summaryOf(t, map[string]result{"go test .": {tests: read(t), failure: "go: cannot find main module\n"}})
	if _, last, code := finish(t, s, false, nil); code != 1 || last != "0 passed, 1 failed, 0 skipped" {
		t.Errorf("exit code %d, last line %q", code, last)
	}
}

func TestReport_TheSlowestComeFirst(t *testing.T) {
	s := summary{passed: 1, packages: []*testCase{{pkg: "quick", elapsed: time.Second},
		{pkg: "slow", elapsed: time.Minute}}}
	for i := range 30 {
		s.slow = append(s.slow, &testCase{pkg: "p", name: "Test" + string(rune('A'+i)),
			elapsed: time.Duration(i) * time.Second})
	}
	text, _, _ := finish(t, &s, false, nil)
	if strings.Count(text, "s  p.Test") != slowest {
		t.Errorf("not %d tests are listed:\n%s", slowest, text)
	}
	if !strings.Contains(text, "Slowest tests:\n   29.00s") {
		t.Errorf("the slowest is not first:\n%s", text)
	}
	if !strings.Contains(text, "Slowest packages:\n   60.00s  slow\n    1.00s  quick\n") {
		t.Errorf("the slowest package is not first:\n%s", text)
	}
}

func TestFull_WhatTheFullRunDoesMoreIsListedAndIsNotLeftOut(t *testing.T) {
	module := read(t,
		`{"Action":"start","Package":"p"}`,
		`{"Action":"run","Package":"p","Test":"TestKill"}`,
		`{"Action":"output","Package":"p","Test":"TestKill/a","Output":"    f_test.go:5: make test-full: 100 points instead of 20\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestKill/a"}`,
		`{"Action":"output","Package":"p","Test":"TestKill/b","Output":"    f_test.go:5: make test-full: 100 points instead of 20\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestKill/b"}`,
		`{"Action":"pass","Package":"p","Test":"TestKill"}`,
		`{"Action":"output","Package":"p","Test":"TestLong","Output":"    f_test.go:9: make test-full: an hour of it\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestLong"}`,
		`{"Action":"pass","Package":"p"}`,
	)
	s := summaryOf(t, map[string]result{"go test .": judge(module, nil, "")})
	s.more = append(s.more, "fuzz: each fuzz target for 20s")
	text, _, code := finish(t, s, true, nil)
	want := `
Only make test-full runs:
  p: 100 points instead of 20: TestKill
  p: an hour of it: TestLong
  fuzz: each fuzz target for 20s

Nothing was left out.
`
	if code != 0 || !strings.Contains(text, want) {
		t.Errorf("exit code %d\n%s\nwant\n%s", code, text, want)
	}
}

func TestLeftOut_AnAllowanceNeedsAReason(t *testing.T) {
	for _, s := range []string{"govulncheck", "govulncheck: ", "govulncheck: fine; shellcheck"} {
		if _, err := parseAllowed(s); err == nil || !strings.Contains(err.Error(), "say why") {
			t.Errorf("%q was accepted: %v", s, err)
		}
	}
	got, err := parseAllowed("a: one: two;\n b.Test/x: three\n")
	if err != nil || got["a"] != "one: two" || got["b.Test/x"] != "three" || len(got) != 2 {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := parseAllowed(""); err != nil || len(got) != 0 {
		t.Errorf("nothing allowed became %q, %v", got, err)
	}
}
