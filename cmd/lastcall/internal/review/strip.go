package review

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/lastcall-go/lastcall/rehearse"
)

const (
	stripName  = 12 // characters before the bars of a strip
	stripWidth = 60 // characters of the bars, at most
)

// signs are the characters of which bars are drawn.
var signs = map[state]string{
	starting: "·", running: "━", stopping: "▒", sentHere: "━", hooking: "━", failing: "×", warned: "×", known: "×",
}

// legends explain the signs.
var legends = []struct{ sign, text string }{
	{"·", "starting"}, {"━", "on"}, {"▒", "after the stop signal"}, {"×", "finding"},
}

// strip draws a scenario in a few lines: what happened when, and what went wrong meanwhile.
func (p Page) strip(r *rehearse.Result) string {
	total, width := lasted(r), stripWidth
	if p.Columns > 0 {
		width = min(width, p.Columns-stripName-1)
	}
	if total <= 0 || width < 20 {
		return ""
	}
	place := func(at time.Duration) int { return min(int(float64(at)/float64(total)*float64(width)), width-1) }
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", stripName) + p.faint(axis(total, place)) + "\n")
	said := map[string]bool{}
	for _, one := range lanes(r) {
		line, drawn := "", 0
		for _, bar := range one.bars {
			said[signs[bar.state]] = true
			from, to := max(place(bar.from), drawn), max(place(bar.to), place(bar.from)+1)
			if to <= from {
				continue
			}
			line += strings.Repeat(" ", from-drawn) + p.sign(bar.state, strings.Repeat(signs[bar.state], to-from))
			drawn = to
		}
		fmt.Fprintf(&b, "  %s%s\n", pad(cut(one.name, stripName-3), stripName-2), line)
	}
	legend := ""
	for _, one := range legends {
		if said[one.sign] {
			legend += one.sign + " " + one.text + "   "
		}
	}
	if legend = "  " + strings.TrimRight(legend, " "); p.Columns == 0 || runewidth.StringWidth(legend) < p.Columns {
		b.WriteString(p.faint(legend) + "\n")
	}
	return b.String()
}

// axis is the line of the seconds above a strip.
func axis(total time.Duration, place func(time.Duration) int) string {
	line, every := "", step(total, 6)
	for at := time.Duration(0); at <= total; at += every {
		line = pad(line, place(at))
		if runewidth.StringWidth(line) > place(at) {
			continue // there is no room
		}
		line += fmt.Sprintf("%g", at.Seconds())
		if at == 0 {
			line += " s"
		}
	}
	return line
}

func (p Page) sign(s state, text string) string {
	switch s {
	case failing:
		return p.paint(failure, text)
	case warned, stopping:
		return p.paint(warning, text)
	case known:
		return p.paint(accepted, text)
	case running, sentHere, hooking:
		return p.paint(passed, text)
	case starting:
	}
	return p.faint(text)
}
