package review

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/lastcall-go/lastcall/rehearse"
)

// longest bounds a text of one line, in columns: a program may write a megabyte without a line
// break.
const longest = 2000

// clean makes text of the program harmless. Characters that are not printable become spaces. "##["
// is broken up: GitHub's runner takes it for the start of a command anywhere in a line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return cut(strings.ReplaceAll(s, "##[", "## ["), longest)
}

// cleaned returns a copy of a report in which every text is one printable line.
func cleaned(r *rehearse.Report) *rehearse.Report {
	c := &rehearse.Report{Command: cleanAll(r.Command), Stale: r.Stale}
	for i := range r.Results {
		c.Results = append(c.Results, *cleanResult(&r.Results[i]))
	}
	return c
}

func cleanResult(r *rehearse.Result) *rehearse.Result {
	c := *r
	c.Isolation, c.URL, c.Skipped, c.Output = clean(c.Isolation), clean(c.URL), clean(c.Skipped), cleanAll(c.Output)
	c.Events, c.Findings, c.Stacks = slices.Clone(c.Events), slices.Clone(c.Findings), slices.Clone(c.Stacks)
	for i := range c.Events {
		c.Events[i] = cleanEvent(c.Events[i])
	}
	for i := range c.Stacks {
		s := &c.Stacks[i]
		s.State, s.CreatedBy, s.Frames = clean(s.State), clean(s.CreatedBy), cleanAll(s.Frames)
	}
	for i := range c.Findings {
		c.Findings[i].Seen = clean(c.Findings[i].Seen)
	}
	return &c
}

func cleanEvent(e rehearse.Event) rehearse.Event {
	e.What, e.Detail = clean(e.What), clean(e.Detail)
	return e
}

func cleanAll(texts []string) []string {
	var all []string
	for _, one := range texts {
		all = append(all, clean(one))
	}
	return all
}

// cut shortens a text to a number of columns. Some characters take two.
func cut(s string, n int) string { return runewidth.Truncate(s, max(n, 0), "…") }

// wrap breaks a text into lines of at most width columns, between words if possible. With 0 it is
// one line.
func wrap(s string, width int) []string {
	if width <= 0 {
		return []string{s}
	}
	lines, line := []string{}, ""
	for _, word := range strings.Fields(s) {
		for runewidth.StringWidth(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			begin := runewidth.Truncate(word, width, "")
			lines, word = append(lines, begin), strings.TrimPrefix(word, begin)
		}
		switch {
		case line == "":
			line = word
		case runewidth.StringWidth(line)+1+runewidth.StringWidth(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// pad extends a text to at least a number of columns.
func pad(s string, n int) string { return runewidth.FillRight(s, n) }

// Lines makes a text of several lines safe for a log: it is printable, and no line begins with two
// colons, which a runner takes for a command.
func Lines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if lines[i] = clean(line); strings.HasPrefix(strings.TrimSpace(line), "::") {
			lines[i] = "| " + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}
