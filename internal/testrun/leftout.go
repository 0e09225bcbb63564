package main

import (
	"fmt"
	"strings"
)

// parseAllowed reads LEFT_OUT_OK: entries "name: reason", separated by
// semicolons or line ends. The reason is not optional, so that whoever reads
// the environment knows why.
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

// An omission is one check or test that did not run.
type omission struct{ name, why string }

// reasonOf finds why a test skipped itself in what it printed.
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
