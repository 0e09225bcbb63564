// Package review writes the findings of a rehearsal: for a person at a terminal or in a log, and in
// the formats of other tools.
//
// Its output has no control characters and no workflow commands of a CI system, whatever the
// rehearsed program has written into its output and its answers.
package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/rehearse"
)

// level is how serious a finding is.
type level int

const (
	passed   level = iota
	accepted       // the baseline accepts it
	warning
	failure
)

func (l level) String() string { return [...]string{"pass", "ok", "warn", "fail"}[l] }

func levelOf(f rehearse.Finding) level {
	switch {
	case f.Accepted:
		return accepted
	case f.Fails:
		return failure
	}
	return warning
}

// resultLevel returns the level of the worst finding of a scenario.
func resultLevel(r *rehearse.Result) level {
	worst := passed
	for _, f := range r.Findings {
		worst = max(worst, levelOf(f))
	}
	return worst
}

// codeLevel returns the level that a code has in a scenario.
func codeLevel(r *rehearse.Result, code rehearse.Code) level {
	worst := passed
	for _, f := range r.Findings {
		if f.Code == code {
			worst = max(worst, levelOf(f))
		}
	}
	return worst
}

// found is one code with all its findings, in the order of the scenarios.
type found struct {
	code  rehearse.Code
	level level
	seen  []seen
}

type seen struct {
	scenario rehearse.Scenario
	level    level
	text     string
}

// findings groups those of all scenarios by code: the worst first, then in the order of the codes.
func findings(r *rehearse.Report) []found {
	var all []found
	for i := range r.Results {
		one := &r.Results[i]
		for _, f := range one.Findings {
			at := slices.IndexFunc(all, func(other found) bool { return other.code == f.Code })
			if at < 0 {
				at = len(all)
				all = append(all, found{code: f.Code})
			}
			all[at].level = max(all[at].level, levelOf(f))
			all[at].seen = append(all[at].seen, seen{one.Scenario, levelOf(f), f.Seen})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		if a.level != b.level {
			return int(b.level - a.level)
		}
		return strings.Compare(string(a.code), string(b.code))
	})
	return all
}

// counts are the numbers of a report.
type counts struct{ fails, warnings, accepted, passed, answered, failed, notSent int }

func count(results ...rehearse.Result) (c counts) {
	for i := range results {
		one := &results[i]
		for _, f := range one.Findings {
			switch levelOf(f) {
			case failure:
				c.fails++
			case warning:
				c.warnings++
			case accepted:
				c.accepted++
			case passed:
			}
		}
		c.passed += len(one.Passed)
		c.answered += one.Answered
		c.failed += one.Failed
		c.notSent += one.NotSent
	}
	return c
}

func (c counts) String() string {
	text := fmt.Sprintf("failed: %d, warnings: %d, passed: %d", c.fails, c.warnings, c.passed)
	if c.accepted > 0 {
		text += fmt.Sprintf(", accepted: %d", c.accepted)
	}
	return text
}

// requests describes how the requests of all clients ended. It is empty if there were none.
func (c counts) requests() string {
	if c.answered+c.failed+c.notSent == 0 {
		return ""
	}
	text := fmt.Sprintf("%d requests answered, %d not", c.answered, c.failed)
	if c.notSent > 0 {
		text += fmt.Sprintf(", %d not sent", c.notSent)
	}
	return text
}

// ending describes how the program of a scenario ended.
func ending(r *rehearse.Result) string {
	switch {
	case r.ExitCode >= 0:
	case slices.ContainsFunc(r.Events, func(e rehearse.Event) bool { return e.What == "SIGKILL" }):
		return "killed when its time was over"
	default:
		return "still running when the rehearsal ended"
	}
	return fmt.Sprintf("exit code %d", r.ExitCode)
}

// summary describes how the program of a scenario ended, and what its clients got.
func summary(r *rehearse.Result) string {
	if r.Skipped != "" {
		return "not rehearsed: " + r.Skipped
	}
	text := ending(r)
	if asked := r.Answered + r.Failed; asked > 0 {
		text += fmt.Sprintf(", %d of %d requests answered", r.Answered, asked)
	}
	return text
}
