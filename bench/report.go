package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// figure names a figure of a contender.
type figure struct{ contender, name string }

// promise is a bound for one of our figures, or for its comparison with a peer's figure of the same
// round.
type promise struct {
	what string
	ours figure
	peer figure // the zero figure: the bound is for ours alone
	more bool   // the bound is for the difference to the peer, not for the ratio

	// least or most, whichever is set, decides. aim is printed next to it.
	least, most, aim float64
}

// row is a line of the table.
type row struct {
	measure, what, ours, peer, ratio, wanted, verdict string
}

// The verdicts.
const (
	reached   = "reached"
	missed    = "MISSED"
	failed    = "FAILED"
	notJudged = "not judged"
)

// judge returns the rows of a measure.
func (m measure) judge(r results, quick bool) []row {
	var rows []row
	for _, p := range m.promises {
		line := p.judge(row{measure: m.name, what: p.what, wanted: p.wanted(), verdict: failed}, r)
		if quick && line.verdict != failed {
			line.verdict = notJudged
		}
		rows = append(rows, line)
	}
	return rows
}

// judge fills in the row of a promise. The row stays FAILED where a contender did not return the
// figure.
func (p promise) judge(line row, r results) row {
	ours := r.column(p.ours)
	if len(ours) == 0 {
		return line
	}
	line.ours = amount(median(ours), unit(p.ours.name))
	decisive := median(ours)
	if p.peer != (figure{}) {
		peer, compared := r.column(p.peer), p.compare(r)
		if len(compared) == 0 {
			return line
		}
		line.peer = amount(median(peer), unit(p.peer.name)) + " " + p.peer.contender
		decisive = median(compared)
		suffix := "x"
		if p.more {
			suffix = unit(p.ours.name)
		}
		line.ratio = amount(decisive, suffix) + spread(compared)
	}
	if p.holds(decisive) {
		line.verdict = reached
	} else {
		line.verdict = missed
	}
	return line
}

// compare returns the ratio, or the difference, of each round that has both figures.
func (p promise) compare(r results) []float64 {
	var compared []float64
	for _, found := range r {
		ours, ok := found[p.ours.contender][p.ours.name]
		peer, both := found[p.peer.contender][p.peer.name]
		switch {
		case !ok || !both:
		case p.more:
			compared = append(compared, ours-peer)
		default:
			compared = append(compared, ours/peer)
		}
	}
	return compared
}

func (p promise) holds(v float64) bool {
	if p.least > 0 {
		return v >= p.least
	}
	return v <= p.most
}

// wanted returns the bound in words.
func (p promise) wanted() string {
	suffix := unit(p.ours.name)
	if p.peer != (figure{}) && !p.more {
		suffix = "x"
	}
	word, bound := "at most", p.most
	if p.least > 0 {
		word, bound = "at least", p.least
	}
	text := word + " " + amount(bound, suffix)
	if p.more {
		text += " more"
	}
	if p.aim > 0 {
		text += ", aim " + amount(p.aim, suffix)
	}
	return text
}

// printTable prints all rows in columns.
func printTable(w io.Writer, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "\nmeasure\twhat\tours\tpeer\tratio\twanted\t\n")
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join([]string{r.measure, r.what, r.ours, r.peer, r.ratio, r.wanted, r.verdict}, "\t"))
	}
	return t.Flush()
}

// exitCode is 2 when a contender has failed, 1 when a promise is missed, and otherwise 0.
func exitCode(rows []row) int {
	code := 0
	for _, r := range rows {
		switch r.verdict {
		case failed:
			code = 2
		case missed:
			code = max(code, 1)
		}
	}
	return code
}

// amount formats a figure with about three digits, and its unit.
func amount(v float64, unit string) string {
	digits := 0
	switch a := math.Abs(v); {
	case a == math.Trunc(a):
	case a < 10:
		digits = 2
	case a < 100:
		digits = 1
	}
	text := grouped(strconv.FormatFloat(v, 'f', digits, 64))
	if unit == "" {
		return text
	}
	return text + " " + unit
}

// grouped puts a comma before every three digits of a number's whole part.
func grouped(number string) string {
	whole, rest, found := strings.Cut(number, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		rest = "." + rest
	}
	return sign + whole + rest
}
