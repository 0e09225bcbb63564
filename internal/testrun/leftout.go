package main

import (
	"fmt"
	"slices"
	"strings"
)

// parseAllowed parses LEFT_OUT_OK: entries "name: reason", separated by
// semicolons or line ends. The reason is required, so that a reader of the
// environment knows it.
func parseAllowed(s string) (map[string]string, error) {
	allowed := map[string]string{}
	for entry := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ';' || r == '\n' }) {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, reason, ok := strings.Cut(entry, ": ")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("LEFT_OUT_OK: %q is not of the form \"name: reason\"; say why it may be left out", entry)
		}
		allowed[strings.TrimSpace(name)] = strings.TrimSpace(reason)
	}
	return allowed, nil
}

// fullMark is the beginning of the line that a test prints, with t.Log or t.Skip, if it does
// less or nothing with -short.
const fullMark = "make test-full: "

// fullOf returns what a test does only in make test-full, as it printed it, or "".
func fullOf(c *testCase) string {
	for _, line := range c.output {
		if _, more, found := strings.Cut(line, fullMark); found {
			return strings.TrimSpace(more)
		}
	}
	return ""
}

// An omission is one check or test that did not run.
type omission struct{ name, why string }

// reasonOf returns the reason for a skip from the output of a test.
func reasonOf(c *testCase) string {
	var lines []string
	for line := range strings.Lines(message(c.output)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "it does not say why: give t.Skip a reason"
	}
	return strings.Join(lines, " ")
}

// more returns what only make test-full does in these tests: a line for each package
// and description, with the names of the tests.
func (t *tests) more() (lines []string) {
	type sort struct{ pkg, more string }
	names := map[sort][]string{}
	var order []sort
	for _, c := range t.sorted() {
		more := fullOf(c)
		if more == "" {
			continue
		}
		s := sort{c.pkg, more}
		name, _, _ := strings.Cut(c.name, "/")
		if names[s] == nil {
			order = append(order, s)
		}
		if !slices.Contains(names[s], name) {
			names[s] = append(names[s], name)
		}
	}
	for _, s := range order {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", s.pkg, s.more, strings.Join(names[s], ", ")))
	}
	return lines
}
