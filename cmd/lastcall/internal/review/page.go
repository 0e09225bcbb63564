package review

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Page describes where a person reads a report.
type Page struct {
	// Columns is its width. 0 is for a log: each item is one line, however long, so that it can be
	// searched.
	Columns int
	// Colors is whether it is a terminal that shows colors.
	Colors bool
	// Verbose shows the timelines of passed scenarios too, if there are several.
	Verbose bool
}

const (
	whatColumn   = 9            // the column of what happened, after the time
	detailColumn = 9 + 14 + 2   // the column of the details
	textColumn   = 13           // of the text about a finding
	codeWidth    = len("LC100") // of the last column
)

// paint colors a text.
func (p Page) paint(l level, s string) string {
	colors := [...]string{passed: "32", accepted: "36", warning: "33", failure: "1;31"}
	return p.color(colors[l], s)
}

func (p Page) color(color, s string) string {
	if !p.Colors || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// faint writes text that need not catch the eye.
func (p Page) faint(s string) string { return p.color("2", s) }

// Head announces a rehearsal. It leaves out how long that will take if takes is 0.
func (p Page) Head(c *rehearse.Config, takes time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rehearsing  %s\n", p.color("1", clean(strings.Join(c.Program.Command, " "))))
	facts := fmt.Sprintf("grace %v, %d new connections a second", c.Grace, c.Rate)
	if len(c.Scenarios) > 1 {
		facts += fmt.Sprintf(", %d scenarios", len(c.Scenarios))
	}
	if takes > 0 {
		facts += ", takes at most about " + about(takes)
	}
	p.block(&b, "            ", "            ", facts)
	return b.String()
}

// about writes a time roughly.
func about(d time.Duration) string {
	if d = d.Round(time.Second); d < 100*time.Second {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min", int((d + 30*time.Second).Minutes()))
}

// block writes a text, wrapped: the first line begins with first, the others with others, which has
// the same width.
func (p Page) block(b *strings.Builder, first, others, text string) {
	width := 0
	if p.Columns > 0 {
		width = max(p.Columns-runewidth.StringWidth(others), 20)
	}
	for i, line := range wrap(text, width) {
		if i > 0 {
			first = others
		}
		b.WriteString(strings.TrimRight(first+line, " ") + "\n")
	}
}

// Title begins a scenario, which is one of several if total is more than 1.
func (p Page) Title(s rehearse.Scenario, number, total int) string {
	of := ""
	if total > 1 {
		of = p.faint(fmt.Sprintf("  %d of %d", number, total))
	}
	return "\n" + p.color("1", clean(string(s))) + of + "\n"
}

// Live writes an event in one line, to show it when it happens.
func (p Page) Live(e rehearse.Event) string {
	e = cleanEvent(e)
	text := fmt.Sprintf("%7.2f  %s  %s", e.At.Seconds(), pad(e.What, detailColumn-whatColumn-2), e.Detail)
	if p.Columns > 0 {
		text = cut(text, p.Columns-1)
	}
	return strings.TrimRight(text, " ") + "\n"
}

// Timeline writes a scenario as a picture, and its events in order.
func (p Page) Timeline(r *rehearse.Result) string {
	r = cleanResult(r)
	var b strings.Builder
	if strip := p.strip(r); strip != "" {
		b.WriteString(strip + "\n")
	}
	for _, e := range r.Events {
		p.event(&b, e, codeLevel(r, e.Code))
	}
	p.stacks(&b, r.Stacks)
	if len(r.Output) > 0 {
		b.WriteString(strings.Repeat(" ", whatColumn) + "the program's last lines:\n")
		for _, line := range r.Output {
			p.block(&b, "         | ", "         |   ", line)
		}
	}
	return b.String()
}

// event writes one event. Its code is at the end of its first line.
func (p Page) event(b *strings.Builder, e rehearse.Event, l level) {
	at := fmt.Sprintf("%7.2f", e.At.Seconds())
	text, indent := e.What, whatColumn
	short := runewidth.StringWidth(e.What) <= detailColumn-whatColumn-2
	if short {
		text, indent = e.Detail, detailColumn
	}
	if e.Until-e.At >= 10*time.Millisecond {
		text += fmt.Sprintf(" until %.2f", e.Until.Seconds())
	}
	if p.Columns == 0 && !short {
		text, e.Detail = text+"  "+e.Detail, ""
	}
	width := 0
	if p.Columns > 0 {
		width = max(p.Columns-indent-codeWidth-3, 20)
	}
	for i, line := range wrap(text, width) {
		before := strings.Repeat(" ", indent)
		if i == 0 {
			before = p.faint(at) + "  "
			if short {
				before += p.mark(l, pad(e.What, detailColumn-whatColumn)) // the name of the event
			}
		}
		b.WriteString(before)
		if i == 0 && e.Code != "" {
			line = p.mark(l, pad(line, width)) + "  " + p.paint(l, string(e.Code))
		} else if !short {
			line = p.mark(l, line)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if !short && e.Detail != "" {
		p.block(b, strings.Repeat(" ", whatColumn+2), strings.Repeat(" ", whatColumn+2), e.Detail)
	}
}

// mark colors the text of a finding, and leaves other text as it is.
func (p Page) mark(l level, s string) string {
	if l < warning {
		return s
	}
	return p.paint(l, s)
}

// Line writes a scenario that is one of several in one line.
func (p Page) Line(r *rehearse.Result) string {
	r = cleanResult(r)
	worst := resultLevel(r)
	word := "PASS"
	switch {
	case worst == failure:
		word = "FAIL"
	case r.Skipped != "":
		word, worst = "SKIP", warning
	}
	text := summary(r)
	for _, f := range r.Findings {
		text += fmt.Sprintf(", %s %s", levelOf(f), f.Code)
	}
	return fmt.Sprintf("%s  %s  %s\n", p.paint(worst, word), pad(string(r.Scenario), 16), text)
}

// Verdict writes the findings of all scenarios, and what to change.
func (p Page) Verdict(r *rehearse.Report) string {
	r = cleaned(r)
	var b strings.Builder
	all := findings(r)
	for _, f := range all {
		p.finding(&b, f, len(r.Results) > 1)
	}
	for _, a := range r.Stale {
		p.block(&b, "note  ", "      ", fmt.Sprintf("%s  the baseline accepts it for %s, where it is not found any more: take it out", a.Code, a.Scenario))
	}
	word, worst := "PASS", passed
	if !r.OK() {
		word, worst = "FAIL", failure
	}
	c := count(r.Results...)
	text := c.String()
	if len(r.Results) > 1 {
		bad := 0
		for i := range r.Results {
			if !r.Results[i].OK() {
				bad++
			}
		}
		text = fmt.Sprintf("scenarios failed: %d of %d; checks ", bad, len(r.Results)) + text
	}
	if requests := c.requests(); requests != "" {
		text += "; " + requests
	}
	if len(r.Results) > 0 {
		text += "; " + r.Results[0].Isolation
	}
	b.WriteString("\n")
	last := &strings.Builder{}
	p.block(last, word+"  ", "      ", text)
	b.WriteString(strings.Replace(last.String(), word, p.paint(worst, word), 1))
	if len(all) > 0 && all[0].level >= warning {
		fmt.Fprintf(&b, "What to change: lastcall rehearse --explain %s\n", all[0].code)
	}
	return b.String()
}

// finding writes one code: what it is, where it was seen, why it matters, and what to change.
func (p Page) finding(b *strings.Builder, f found, several bool) {
	head := fmt.Sprintf("%s  %s", pad(f.level.String(), 4), f.code)
	title := "the program " + f.code.Title()
	indent := strings.Repeat(" ", textColumn)
	if !several {
		title += ": " + f.seen[0].text
	}
	var text strings.Builder
	p.block(&text, head+"  ", indent, title)
	if several {
		for _, one := range f.seen {
			p.block(&text, indent, indent+"  ", fmt.Sprintf("%s: %s", one.scenario, one.text))
		}
	}
	b.WriteString("\n" + strings.Replace(text.String(), head, p.paint(f.level, head), 1))
	if f.level < warning {
		p.block(b, indent, indent, "accepted by the baseline")
		return
	}
	p.block(b, indent, indent, f.code.Why())
	if f.level == failure {
		p.block(b, indent, indent, f.code.Change())
	}
}
