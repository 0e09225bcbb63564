package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// slowest is the length of the list of the slowest tests.
const slowest = 10

// printResult prints one line for a check that has ended, with its duration and processor time, and
// the whole text of a failure below it.
func printResult(w io.Writer, name string, r result) {
	verdict, detail := "ok", ""
	switch {
	case r.failure != "":
		verdict = "FAIL"
	case r.leftOut != "":
		verdict, detail = "left out", ": "+r.leftOut
	}
	if r.tests != nil {
		passed, failed, skipped := r.tests.count()
		detail = fmt.Sprintf(": %d passed, %d failed, %d skipped, packages %d", passed, failed, skipped,
			len(r.tests.packages))
	}
	fmt.Fprintf(w, "%-8s %6.1fs %6.1fs cpu  %s%s\n", verdict, r.elapsed.Seconds(), r.processor.Seconds(), name, detail)
	if r.failure != "" {
		for line := range strings.Lines(strings.TrimRight(r.failure, "\n") + "\n") {
			fmt.Fprint(w, "    ", line)
		}
	}
}

// describe returns the failed tests of a module, each in full.
func describe(t *tests) string {
	var b strings.Builder
	for _, c := range t.failures() {
		fmt.Fprintf(&b, "--- %s (%.2fs)\n", c.full(), c.elapsed.Seconds())
		text := message(c.output)
		if seed := seedOf(t, c.pkg); seed != "" && c.name != "" {
			text = strings.TrimRight(text, "\n") + "\n" + seed
		}
		b.WriteString(strings.TrimRight(text, "\n") + "\n\n")
	}
	for _, line := range t.stray {
		b.WriteString(line)
	}
	return b.String()
}

// seedOf returns the flag that repeats the order in which a package's tests were shuffled.
func seedOf(t *tests, pkg string) string {
	if p := t.packages[pkg]; p != nil {
		for _, line := range p.output {
			if seed, ok := strings.CutPrefix(line, "-test.shuffle "); ok {
				return "    repeat this order with -shuffle=" + seed
			}
		}
	}
	return ""
}

// A summary collects the results of the checks.
type summary struct {
	passed, failed, skipped int
	broken                  []string
	omitted                 []omission
	slow, packages          []*testCase
	more                    []string // what only make test-full runs
	took, processor         time.Duration
}

func (s *summary) add(name string, r result) {
	s.processor += r.processor
	switch {
	case r.leftOut != "":
		s.skipped++
		s.omitted = append(s.omitted, omission{name, r.leftOut})
	case r.failure != "":
		s.broken = append(s.broken, name)
		if r.tests == nil {
			s.failed++
		}
	case r.tests == nil:
		s.passed++
	}
	if r.tests == nil {
		return
	}
	passed, failed, skipped := r.tests.count()
	if r.failure != "" {
		failed = max(failed, 1) // go test failed, even if no event says so
	}
	s.passed, s.failed, s.skipped = s.passed+passed, s.failed+failed, s.skipped+skipped
	for _, c := range r.tests.skipped() {
		s.omitted = append(s.omitted, omission{c.full(), reasonOf(c)})
	}
	s.slow = append(s.slow, r.tests.leaves()...)
	s.packages = slices.AppendSeq(s.packages, maps.Values(r.tests.packages))
	s.more = append(s.more, r.tests.more()...)
}

// finish prints the end of the report and returns the exit code.
func (s *summary) finish(w io.Writer, ci bool, allowed map[string]string, unchosen int) int {
	printSlowest(w, "packages", s.packages)
	printSlowest(w, "tests", s.slow)
	s.printMore(w)
	refused := s.printOmitted(w, ci, allowed)
	if unchosen > 0 {
		fmt.Fprintf(w, "\nNot all: %d checks were not chosen on the command line.\n", unchosen)
	}

	code := 0
	fmt.Fprintf(w, "\nTook %.0f s, and %.0f s of processors.\n", s.took.Seconds(), s.processor.Seconds())
	if len(s.broken) > 0 {
		code = 1
		fmt.Fprintf(w, "FAILED: %s\n", strings.Join(s.broken, ", "))
	}
	if ci && len(refused) > 0 {
		code = 1
		fmt.Fprintf(w, "FAILED: CI is set, and %d of what was left out may not be. Make it run (make setup installs the tools), or name it in LEFT_OUT_OK with a reason.\n", len(refused))
	}
	if s.passed+s.failed == 0 {
		code = 1
		fmt.Fprintln(w, "FAILED: nothing ran at all.")
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return code
}

func printSlowest(w io.Writer, what string, cases []*testCase) {
	if len(cases) == 0 {
		return
	}
	slices.SortStableFunc(cases, func(a, b *testCase) int { return cmp.Compare(b.elapsed, a.elapsed) })
	fmt.Fprintf(w, "\nSlowest %s:\n", what)
	for _, c := range cases[:min(slowest, len(cases))] {
		fmt.Fprintf(w, "  %6.2fs  %s\n", c.elapsed.Seconds(), c.full())
	}
}

// printMore lists what only make test-full runs.
func (s *summary) printMore(w io.Writer) {
	if len(s.more) == 0 {
		return
	}
	fmt.Fprintln(w, "\nOnly make test-full runs:")
	for _, line := range s.more {
		fmt.Fprintf(w, "  %s\n", line)
	}
}

// printOmitted lists everything that did not run and returns the entries that
// LEFT_OUT_OK does not allow.
func (s *summary) printOmitted(w io.Writer, ci bool, allowed map[string]string) (refused []omission) {
	if len(s.omitted) == 0 {
		fmt.Fprintln(w, "\nNothing was left out.")
		return nil
	}
	fmt.Fprintln(w, "\nLeft out:")
	for _, o := range s.omitted {
		mark := ""
		if reason, ok := allowed[o.name]; ok {
			mark = " [allowed: " + reason + "]"
		} else {
			refused = append(refused, o)
			if ci {
				mark = " [not allowed on CI]"
			}
		}
		fmt.Fprintf(w, "  %s: %s%s\n", o.name, o.why, mark)
	}
	return refused
}
