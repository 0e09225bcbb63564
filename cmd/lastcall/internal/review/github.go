package review

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Annotations writes the findings as annotations of GitHub Actions, which shows them next to the
// log and on the page of a pull request. They are at the first line of file, a file of the
// repository, if that is not empty. The report may be nil if the rehearsal has failed.
func Annotations(w io.Writer, file string, r *rehearse.Report, failed error) error {
	var b strings.Builder
	annotate := func(level, title, text string) {
		where := ""
		if file != "" {
			where = "file=" + annotationTitle.Replace(clean(filepath.ToSlash(filepath.Clean(file)))) + ",line=1,"
		}
		fmt.Fprintf(&b, "::%s %stitle=%s::%s\n", level, where, annotationTitle.Replace(title), annotationText.Replace(text))
	}
	if r != nil {
		r = cleaned(r)
		for _, f := range findings(r) {
			var texts []string
			for _, one := range f.seen {
				texts = append(texts, fmt.Sprintf("%s: %s", one.scenario, one.text))
			}
			texts = append(texts, f.code.Why(), f.code.Change())
			annotate([...]string{accepted: "notice", warning: "warning", failure: "error"}[f.level],
				fmt.Sprintf("%s the program %s", f.code, f.code.Title()), strings.Join(texts, "\n"))
		}
	}
	if failed != nil {
		annotate("error", "the program could not be rehearsed", Lines(failed.Error()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// These escape texts so that GitHub's runner reads them unchanged.
var (
	annotationText  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	annotationTitle = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// Summary writes a report in Markdown, for the page of a run. The report may be nil if the
// rehearsal has failed.
func Summary(w io.Writer, r *rehearse.Report, failed error) error {
	var b strings.Builder
	b.WriteString("## Rehearsal of a deploy\n\n")
	if r != nil {
		r = cleaned(r)
		b.WriteString(code(strings.Join(r.Command, " ")) + "\n\n")
		b.WriteString("| scenario | verdict | the program's end | requests answered | findings |\n|---|---|---|---|---|\n")
		for i := range r.Results {
			one := &r.Results[i]
			var codes []string
			for _, f := range one.Findings {
				codes = append(codes, string(f.Code)+map[level]string{warning: " (warning)", accepted: " (accepted)"}[levelOf(f)])
			}
			word := "✅ pass"
			switch {
			case !one.OK():
				word = "❌ fail"
			case one.Skipped != "":
				word = "➖ skipped"
			}
			requests := "no clients"
			if asked := one.Answered + one.Failed; asked > 0 {
				requests = fmt.Sprintf("%d of %d", one.Answered, asked)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", one.Scenario, word, ending(one), requests, strings.Join(codes, ", "))
		}
		for _, f := range findings(r) {
			summaryFinding(&b, f)
		}
		for i := range r.Results {
			one := &r.Results[i]
			fmt.Fprintf(&b, "\n<details><summary>Timeline of %s</summary>\n\n%s\n</details>\n", one.Scenario, fenced(Page{}.Timeline(one)))
		}
	}
	if failed != nil {
		b.WriteString("❌ The program could not be rehearsed:\n\n" + fenced(Lines(failed.Error())+"\n"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func summaryFinding(b *strings.Builder, f found) {
	sign := [...]string{accepted: "☑️", warning: "⚠️", failure: "❌"}[f.level]
	fmt.Fprintf(b, "\n%s **%s The program %s.** %s\n\n", sign, f.code, f.code.Title(), f.code.Why())
	for _, one := range f.seen {
		fmt.Fprintf(b, "- %s: %s\n", one.scenario, code(one.text))
	}
	fmt.Fprintf(b, "\n%s\n", f.code.Change())
}

// code is a text of one line that Markdown shows as it is.
func code(s string) string {
	quote := strings.Repeat("`", longestRun(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return quote + s + quote
}

// fenced is a text of several lines that Markdown shows as it is.
func fenced(s string) string {
	fence := strings.Repeat("`", max(3, longestRun(s)+1))
	return fence + "text\n" + s + fence + "\n"
}

// longestRun is the length of the longest run of backquotes.
func longestRun(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
