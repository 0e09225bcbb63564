package review

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/rehearse"
)

// clean makes text of the program harmless. What is not printable becomes a space. "##[" begins a
// command of GitHub's runner wherever it stands in a line, so that it is taken apart.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.ReplaceAll(s, "##[", "## [")
}

// cleaned returns a copy of a report in which every text is one line, and printable.
func cleaned(r *rehearse.Report) *rehearse.Report {
	c := &rehearse.Report{Command: cleanAll(r.Command), Stale: r.Stale}
	for i := range r.Results {
		c.Results = append(c.Results, *cleanResult(&r.Results[i]))
	}
	return c
}

func cleanResult(r *rehearse.Result) *rehearse.Result {
	c := *r
	c.Isolation, c.URL, c.Output = clean(c.Isolation), clean(c.URL), cleanAll(c.Output)
	c.Events, c.Findings = slices.Clone(c.Events), slices.Clone(c.Findings)
	for i := range c.Events {
		c.Events[i] = cleanEvent(c.Events[i])
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

// cut shortens a text to so many characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n-1, 0)]) + "…"
}

// wrap breaks a text into lines of at most so many characters, between words where that is possible.
// With 0 it is one line.
func wrap(s string, width int) []string {
	if width <= 0 {
		return []string{s}
	}
	lines, line := []string{}, ""
	for _, word := range strings.Fields(s) {
		for utf8.RuneCountInString(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			letters := []rune(word)
			lines, word = append(lines, string(letters[:width])), string(letters[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// pad makes a text at least so many characters wide.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

// Lines is a text of several lines as a log may have it: printable, and without a line that a runner
// takes for a command, which is one that begins with two colons.
func Lines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if lines[i] = clean(line); strings.HasPrefix(strings.TrimSpace(line), "::") {
			lines[i] = "| " + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}
