package review

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/lastcall-go/lastcall/rehearse"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// The measures of a picture, in its own units.
const (
	pictureWidth = 960
	gutter       = 130 // for the names of lanes
	rightMargin  = 24
	laneHeight   = 26
	labelHeight  = 16
	letterWidth  = 6.6 // of a letter of a label, roughly
)

type htmlPage struct {
	Verdict, Level, Command string
	Facts                   []string
	Error                   string
	Scenarios               []htmlScenario
	Findings                []htmlFinding
	Stale                   []string
}

type htmlScenario struct {
	Name, Level, Verdict, Summary string
	Picture                       htmlPicture
	Events                        []htmlEvent
	About                         string
	Stacks                        []htmlStack
	Output                        []string
}

type htmlStack struct {
	Title  string
	Frames []string
}

type htmlEvent struct{ At, What, Detail, Code, Level string }

type htmlFinding struct {
	Code, Level, Title, Why, Change string
	Seen                            []string
}

type htmlPicture struct {
	Name                     string
	Width, Height            float64
	Left, Right, Top, Bottom float64 // of the lanes
	Ticks, Moments           []htmlMark
	Lanes                    []htmlLane
}

type htmlMark struct {
	X, Y   float64
	Text   string
	Anchor string
}

type htmlLane struct {
	Name   string
	Y, Mid float64
	Bars   []htmlBar
}

type htmlBar struct {
	X, Y, Width, Height float64
	State, Title        string
	Label               htmlMark // what went wrong, next to the bar
}

// HTML writes a report as one page that loads nothing from elsewhere: it can be kept, sent and
// opened years later. The report may be nil if the rehearsal has failed.
func HTML(w io.Writer, o Origin, r *rehearse.Report, failed error) error {
	page := htmlPage{Verdict: "could not be rehearsed", Level: failure.String()}
	if r != nil {
		fillPage(&page, cleaned(r))
	}
	if failed != nil {
		page.Error = Lines(failed.Error())
	}
	if o.Version != "" {
		page.Facts = append(page.Facts, "lastcall "+o.Version)
	}
	return pageTemplate.Execute(w, page)
}

func fillPage(page *htmlPage, r *rehearse.Report) {
	page.Verdict, page.Level = "passed", passed.String()
	if !r.OK() {
		page.Verdict, page.Level = "failed", failure.String()
	}
	page.Command = strings.Join(r.Command, " ")
	c := count(r.Results...)
	page.Facts = []string{c.String()}
	if requests := c.requests(); requests != "" {
		page.Facts = append(page.Facts, requests)
	}
	if len(r.Results) > 0 {
		page.Facts = append(page.Facts, r.Results[0].Isolation)
	}
	for i := range r.Results {
		page.Scenarios = append(page.Scenarios, scenarioPage(&r.Results[i]))
	}
	for _, f := range findings(r) {
		one := htmlFinding{Code: string(f.code), Level: f.level.String(), Title: "The program " + f.code.Title(), Why: f.code.Why(), Change: f.code.Change()}
		for _, s := range f.seen {
			one.Seen = append(one.Seen, fmt.Sprintf("%s: %s", s.scenario, s.text))
		}
		page.Findings = append(page.Findings, one)
	}
	for _, a := range r.Stale {
		page.Stale = append(page.Stale, fmt.Sprintf("The baseline accepts %s for %s, where it is not found any more.", a.Code, a.Scenario))
	}
}

func scenarioPage(r *rehearse.Result) htmlScenario {
	s := htmlScenario{Name: string(r.Scenario), Level: resultLevel(r).String(), Verdict: "passed", Summary: summary(r), About: r.Scenario.About(), Picture: picture(r), Output: r.Output}
	switch {
	case !r.OK():
		s.Verdict = "failed"
	case r.Skipped != "":
		s.Level, s.Verdict = warning.String(), "skipped"
	}
	for _, one := range r.Stacks {
		s.Stacks = append(s.Stacks, htmlStack{stackTitle(one), one.Frames})
	}
	for _, e := range r.Events {
		at := fmt.Sprintf("%.2f", e.At.Seconds())
		if e.Until-e.At >= 10*time.Millisecond {
			at += fmt.Sprintf(" – %.2f", e.Until.Seconds())
		}
		one := htmlEvent{At: at, What: e.What, Detail: e.Detail, Code: string(e.Code)}
		if e.Code != "" {
			one.Level = codeLevel(r, e.Code).String()
		}
		s.Events = append(s.Events, one)
	}
	return s
}

// picture draws the lanes of a scenario, and above them the moments at which something happened.
func picture(r *rehearse.Result) htmlPicture {
	total := max(lasted(r), time.Millisecond)
	p := htmlPicture{Name: string(r.Scenario), Width: pictureWidth, Left: gutter, Right: pictureWidth - rightMargin}
	x := func(at time.Duration) float64 { return p.Left + float64(at)/float64(total)*(p.Right-p.Left) }
	marks, rows := moments(r, x)
	p.Moments = marks
	p.Top = float64(rows)*labelHeight + 10
	y := p.Top
	for _, one := range lanes(r) {
		l := htmlLane{Name: cut(one.name, 18), Y: y, Mid: y + laneHeight/2}
		for _, b := range one.bars {
			width := max(x(b.to)-x(b.from), 5)
			drawn := htmlBar{
				X: min(x(b.from), p.Right-width), Y: y + 5, Width: width, Height: laneHeight - 10, State: string(b.state),
				Title: fmt.Sprintf("%s, %.2f s to %.2f s", b.text, b.from.Seconds(), b.to.Seconds()),
			}
			if b.text != string(b.state) {
				drawn.Label = barLabel(drawn, b.text, l.Mid)
			}
			l.Bars = append(l.Bars, drawn)
		}
		p.Lanes = append(p.Lanes, l)
		y += laneHeight
	}
	p.Bottom = y + 4
	for at, every := time.Duration(0), step(total, 10); at <= total; at += every {
		p.Ticks = append(p.Ticks, htmlMark{X: x(at), Y: p.Bottom + 16, Text: fmt.Sprintf("%g s", at.Seconds())})
	}
	p.Height = p.Bottom + 26
	return p
}

// barLabel places the text of a bar on the side of it that has more room.
func barLabel(b htmlBar, text string, y float64) htmlMark {
	const gap = 6
	left, right := b.X-gutter-2*gap, pictureWidth-b.X-b.Width-2*gap
	m := htmlMark{X: b.X - gap, Y: y, Anchor: "end"}
	if right > left {
		m = htmlMark{X: b.X + b.Width + gap, Y: y, Anchor: "start"}
	}
	m.Text = cut(text, int(max(left, right)/letterWidth))
	return m
}

// moments are the labels of events, in as many rows as they need so as not to overlap.
func moments(r *rehearse.Result, x func(time.Duration) float64) (marks []htmlMark, rows int) {
	var ends []float64 // of the labels of each row
	for _, e := range r.Events {
		if e.Code != "" {
			continue // the picture has a lane for it
		}
		m := htmlMark{X: x(e.At), Text: cut(e.What, 40), Anchor: "start"}
		begin, width := m.X+4, float64(runewidth.StringWidth(m.Text))*letterWidth+10
		if begin+width > pictureWidth {
			m.Anchor, begin = "end", m.X-4-width
		}
		row := 0
		for row < len(ends) && ends[row] > begin {
			row++
		}
		if row == len(ends) {
			ends = append(ends, 0)
		}
		ends[row] = begin + width
		m.Y = float64(row)*labelHeight + 12
		marks = append(marks, m)
	}
	return marks, len(ends)
}
