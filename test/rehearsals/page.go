//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/lastcall-go/lastcall/rehearse"
)

// page returns docs/rehearsals.md, written from the results. A server without results is left out.
func page(all []server, seen *record) (string, error) {
	type section struct {
		Name string
		Rows []shown
	}
	var sections []section
	for i := range all {
		s := &all[i]
		one := seen.find(s.name)
		if one == nil {
			continue
		}
		if len(sections) == 0 || sections[len(sections)-1].Name != s.section {
			sections = append(sections, section{Name: s.section})
		}
		last := &sections[len(sections)-1]
		last.Rows = append(last.Rows, shown{s, one, seen.Date})
	}
	var b strings.Builder
	err := pageText.Execute(&b, map[string]any{"Date": seen.Date, "Sections": sections, "Codes": seen.codes()})
	b.WriteString(kubelet)
	return b.String(), err
}

// kubelet is the part of the page about how far rehearsals agree with a kubelet, which tests of
// package rehearse check.
//
//go:embed testdata/kubelet.md
var kubelet string

// shown is a server as the page shows it.
type shown struct {
	s    *server
	seen *row
	date string
}

// Row is the server's row in the table of its section.
func (r shown) Row() string {
	underWay, kept := "-", "-"
	if slices.Contains(r.s.target, "--slow") {
		underWay, kept = r.seen.Plain.underWay(), r.seen.Plain.kept()
	}
	cells := []string{
		r.s.name, r.s.signalName(), underWay, r.seen.Plain.connecting(), kept, r.seen.Plain.end(), r.seen.Plain.verdict(), r.seen.Delayed.verdict(),
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// Version is the version that was rehearsed, and how long it is maintained.
func (r shown) Version() string {
	p := &r.s.product
	text := p.name + " " + r.seen.Version
	switch {
	case p.old:
		return text + ", **no longer maintained** by its authors, who fix only newer releases ([" + host(p.endsSource) + "](" + p.endsSource + "))"
	case p.ends == "":
		return text + ", maintained on that day ([" + host(p.endsSource) + "](" + p.endsSource + "))"
	case p.ends < r.date:
		return text + ", **past its end of life** since " + p.ends + " ([" + host(p.endsSource) + "](" + p.endsSource + "))"
	}
	return text + ", maintained until " + p.ends + " ([" + host(p.endsSource) + "](" + p.endsSource + "))"
}

// Text is the server's entry below the table.
func (r shown) Text() string {
	text := fmt.Sprintf("- **%s**. %s. Documented: %s ([%s](%s))", r.s.name, r.Version(), strings.TrimSuffix(r.s.documented, ".")+".", host(r.s.source), r.s.source)
	if r.s.why != "" {
		text += " " + r.s.why
	}
	return text
}

// codes returns the codes of all findings, in order.
func (r *record) codes() []rehearse.Code {
	found := map[rehearse.Code]bool{}
	for _, one := range r.Rows {
		for _, f := range slices.Concat(one.Plain.Findings, one.Delayed.Findings) {
			found[rehearse.Code(f.Code)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// of returns the finding with a code, nil for none.
func (o *outcome) of(code string) *finding {
	for i := range o.Findings {
		if o.Findings[i].Code == code {
			return &o.Findings[i]
		}
	}
	return nil
}

// count returns the number with which a finding begins.
func (f *finding) count() string {
	n, _, _ := strings.Cut(f.Seen, " ")
	return n
}

// underWay describes how the requests ended that were in flight at the signal.
func (o *outcome) underWay() string {
	for _, c := range o.Clients {
		if c.Client == "slow request" && c.Failed > 0 {
			return fmt.Sprintf("%d of %d failed", c.Failed, c.Failed+c.Answered)
		}
	}
	if f := o.of("LC103"); f != nil {
		return f.count() + " cut off"
	}
	return "answered"
}

// connecting describes what happened to clients that connected after the deletion.
func (o *outcome) connecting() string {
	if f := o.of("LC104"); f != nil {
		return f.count() + " refused"
	}
	if f := o.of("LC108"); f != nil {
		return f.count() + " got errors"
	}
	return "answered"
}

func (o *outcome) kept() string {
	if f := o.of("LC105"); f != nil {
		return "closed without notice"
	}
	return "announced"
}

func (o *outcome) end() string {
	if o.Ended == "" {
		return "killed"
	}
	code, after, _ := strings.Cut(strings.TrimPrefix(o.Ended, "exit code "), ", ")
	return strings.TrimSuffix(after, " after the signal") + ", " + code
}

func (o *outcome) verdict() string {
	c := o.codes()
	switch {
	case c.fails != "":
		return strings.TrimSpace("fail " + c.fails + " " + paren(c.warns))
	case c.warns != "":
		return "pass " + paren(c.warns)
	}
	return "pass"
}

func paren(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}

var pageText = template.Must(template.New("page").Parse(`<!-- Made by make rehearsals: change test/rehearsals and not this page. -->
# What servers do when Kubernetes stops them

Each server was started as in its image or its documentation, and rehearsed by
` + "`lastcall rehearse`" + ` ([rehearse.md](rehearse.md)) on {{.Date}}. The clients opened 50 new
connections a second and kept two connections. At the signal three requests were in flight that take
a second or two. The pod was deleted with a grace period of 30 s. Clients kept connecting for a
second: a cluster takes that long to remove an endpoint everywhere. The last column is the verdict
with a preStop hook of ` + "`sleep 2`" + `, which most pods should have. Packages from Debian are those of
Debian 12, which fixes their security bugs even when their authors no longer do.

Codes in parentheses are warnings. The meaning of the codes:

{{range .Codes}}- {{.}}: it {{.Title}}
{{end}}{{range .Sections}}
## {{.Name}}

| server | signal | requests in flight | new connections | kept connections | exited after, exit code | verdict | with a preStop sleep |
|---|---|---|---|---|---|---|---|
{{range .Rows}}{{.Row}}
{{end}}
{{range .Rows}}{{.Text}}
{{end}}{{end -}}
`))
