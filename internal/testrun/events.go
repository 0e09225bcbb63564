package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// An event is one line of go test -json, as `go doc test2json` describes it.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build-output and a build-fail
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

// A testCase is one test or subtest, or with an empty name a whole package.
type testCase struct {
	pkg, name string
	status    string // run, pass, fail, skip
	elapsed   time.Duration
	output    []string
}

// full returns the name of a test as in the output and in LEFT_OUT_OK.
func (c *testCase) full() string {
	if c.name == "" {
		return c.pkg
	}
	return c.pkg + "." + c.name
}

// tests is the output of go test -json for one module.
type tests struct {
	cases    map[[2]string]*testCase
	packages map[string]*testCase
	builds   map[string][]string // build output by import path
	broken   map[string]bool     // packages whose build failed
	stray    []string            // lines that are not events
}

func newTests() *tests {
	return &tests{
		cases:    map[[2]string]*testCase{},
		packages: map[string]*testCase{},
		builds:   map[string][]string{},
		broken:   map[string]bool{},
	}
}

// readEvents reads the output of go test -json to its end. A line that is not an event
// is kept and printed with the failures: the go command prints some of its errors that way.
func readEvents(r io.Reader) (*tests, error) {
	t := newTests()
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			var e event
			if json.Unmarshal(text, &e) != nil || e.Action == "" {
				t.stray = append(t.stray, string(text)+"\n")
			} else {
				t.add(e)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			t.close()
			return t, nil
		case err != nil:
			return t, fmt.Errorf("reading the output of go test: %w", err)
		}
	}
}

func (t *tests) add(e event) {
	switch e.Action {
	case "build-output":
		t.builds[e.ImportPath] = append(t.builds[e.ImportPath], e.Output)
		return
	case "build-fail":
		t.broken[e.ImportPath] = true
		return
	}
	c := t.lookup(e.Package, e.Test)
	switch e.Action {
	case "output":
		c.output = append(c.output, e.Output)
	case "run", "start":
		c.status = "run"
	case "pass", "fail", "skip":
		c.status = e.Action
		c.elapsed = time.Duration(e.Elapsed * float64(time.Second))
		if e.FailedBuild != "" {
			c.output = append(slices.Clone(t.builds[e.FailedBuild]), c.output...)
			delete(t.broken, e.FailedBuild)
		}
	}
}

func (t *tests) lookup(pkg, name string) *testCase {
	if name == "" {
		if t.packages[pkg] == nil {
			t.packages[pkg] = &testCase{pkg: pkg}
		}
		return t.packages[pkg]
	}
	key := [2]string{pkg, name}
	if t.cases[key] == nil {
		t.cases[key] = &testCase{pkg: pkg, name: name}
	}
	return t.cases[key]
}

// close marks the tests that began and did not end as failed: they ended their process,
// or the time limit ended them.
func (t *tests) close() {
	for _, c := range t.cases {
		if c.status == "run" || c.status == "" {
			c.status = "fail"
			c.output = append(c.output, "    began and never ended: its process died or was stopped\n")
		}
	}
	for _, p := range t.packages {
		if p.status == "run" {
			p.status = "fail"
			p.output = append(p.output, "the package began and never ended\n")
		}
	}
	for path := range t.broken {
		p := t.lookup(path, "")
		p.status = "fail"
		p.output = append(p.output, t.builds[path]...)
	}
}

// failures returns the tests that failed, and the packages that failed without a failed
// test: they do not build, their TestMain failed, or there was a data race after the
// tests. A test is left out if one of its subtests failed and it printed nothing itself.
func (t *tests) failures() []*testCase {
	var out []*testCase
	failedIn := map[string]bool{}
	for _, c := range t.sorted() {
		if c.status != "fail" {
			continue
		}
		failedIn[c.pkg] = true
		if !t.hasFailedChild(c) || saysSomething(c.output) {
			out = append(out, c)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.packages)) {
		if p := t.packages[name]; p.status == "fail" && (!failedIn[name] || panicked(p.output)) {
			out = append(out, p)
		}
	}
	return out
}

// skipped returns the tests that skipped themselves, except those that make
// test-full runs.
func (t *tests) skipped() []*testCase {
	return slices.DeleteFunc(t.sorted(), func(c *testCase) bool { return c.status != "skip" || fullOf(c) != "" })
}

// count returns how many tests and subtests passed, failed and skipped. A
// package that failed without a failed test counts as one failure.
func (t *tests) count() (passed, failed, skipped int) {
	failedIn := map[string]bool{}
	for _, c := range t.cases {
		switch c.status {
		case "pass":
			passed++
		case "fail":
			failed++
			failedIn[c.pkg] = true
		case "skip":
			skipped++
		}
	}
	for name, p := range t.packages {
		if p.status == "fail" && !failedIn[name] {
			failed++
		}
	}
	return passed, failed, skipped
}

// leaves returns the tests without subtests, for the list of the slowest: the time of
// a parent is only the sum of tests that are listed already.
func (t *tests) leaves() []*testCase {
	parents := map[[2]string]bool{}
	for key := range t.cases {
		name := key[1]
		for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name, '/') {
			name = name[:i]
			parents[[2]string{key[0], name}] = true
		}
	}
	return slices.DeleteFunc(t.sorted(), func(c *testCase) bool { return parents[[2]string{c.pkg, c.name}] })
}

func (t *tests) sorted() []*testCase {
	return slices.SortedFunc(maps.Values(t.cases), func(a, b *testCase) int {
		return strings.Compare(a.full(), b.full())
	})
}

func (t *tests) hasFailedChild(c *testCase) bool {
	for key, other := range t.cases {
		if key[0] == c.pkg && other.status == "fail" && strings.HasPrefix(key[1], c.name+"/") {
			return true
		}
	}
	return false
}

// message returns what a test itself printed, without the lines with which the
// testing package marks its beginning and end.
func message(output []string) string {
	var b strings.Builder
	for _, line := range output {
		if !isFrame(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func isFrame(line string) bool {
	line = strings.TrimSpace(line)
	for _, mark := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "--- PASS: ", "--- FAIL: ",
		"--- SKIP: "} {
		if strings.HasPrefix(line, mark) {
			return true
		}
	}
	return false
}

func saysSomething(output []string) bool { return strings.TrimSpace(message(output)) != "" }

// panicked reports whether a package's own output contains the reason for its end.
func panicked(output []string) bool {
	text := strings.Join(output, "")
	return strings.Contains(text, "panic: ") || strings.Contains(text, "fatal error: ") ||
		strings.Contains(text, "DATA RACE")
}
