//go:build !norehearse

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/review"
	"github.com/lastcall-go/lastcall/rehearse"
)

// rehearsalOutput shows a rehearsal while it runs, and writes the findings for other tools.
type rehearsalOutput struct {
	asJSON, github, verbose bool
	junit, sarif, html      string
	source                  string
	baseline, newBaseline   string

	old          *rehearse.Baseline // what newBaseline had before
	out, remarks io.Writer
	page         review.Page
	number       int // of the scenario that is rehearsed, of total
	total        int
	events       []rehearse.Event // of the scenario that is rehearsed
	drawn        int              // lines on the terminal that its result replaces
}

func (o *rehearsalOutput) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.asJSON, "json", false, "write the report as JSON to standard output, and nothing else")
	f.StringVar(&o.junit, "junit", "", "write a JUnit report to this `FILE`: a test for each check")
	f.StringVar(&o.html, "html", "", "write a page with a picture of each scenario to this `FILE`")
	f.StringVar(&o.sarif, "sarif", "", "write a SARIF report to this `FILE`, for GitHub's page of security findings")
	f.StringVar(&o.source, "source", "", "the `FILE` of the repository at which --sarif and --github show the findings: a Dockerfile, a manifest (default: that of -f)")
	f.BoolVar(&o.github, "github", false, "write annotations for GitHub Actions, and the summary of the step")
	f.StringVar(&o.baseline, "baseline", "", "accept the findings in this `FILE`, and fail only for others")
	f.StringVar(&o.newBaseline, "write-baseline", "", "write the present findings to this `FILE` for --baseline, and exit with 0")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "also show the timelines of scenarios that pass, if there are several")
}

// file is the manifest's file, empty if it comes from standard input.
func (m *manifestFlags) file() string {
	for _, name := range m.names {
		if name != "-" {
			return name
		}
	}
	return ""
}

// begin announces the rehearsal, and then shows its progress. An error is one of the flags.
func (o *rehearsalOutput) begin(cmd *cobra.Command, c *rehearse.Config) error {
	if err := o.readBaselines(c); err != nil {
		return err
	}
	for _, one := range o.files() {
		// An error is found now, and not after some minutes. Emptying the file removes the report of an
		// earlier rehearsal.
		if err := os.WriteFile(one.name, nil, 0o644); err != nil {
			return usageError{fmt.Errorf("--%s: %w", one.flag, err)}
		}
	}
	o.out, o.remarks = cmd.OutOrStdout(), cmd.ErrOrStderr()
	o.total = max(len(c.Scenarios), 1)
	if isTerminal(o.out) {
		o.page = review.Page{Columns: min(columns(o.out), 110), Colors: os.Getenv("NO_COLOR") == ""}
	}
	c.Begin, c.Watch, c.End = o.scenario, o.watch, o.ended
	takes, err := rehearse.Estimate(*c)
	if err != nil {
		takes = 0 // Do gives the same error, which is then in every report
	}
	o.show(o.page.Head(c, takes))
	return nil
}

func (o *rehearsalOutput) origin() review.Origin {
	return review.Origin{Version: version(), Source: o.source}
}

// readBaselines reads the accepted findings, and of a baseline that is rewritten the reasons.
func (o *rehearsalOutput) readBaselines(c *rehearse.Config) error {
	if o.baseline != "" {
		b, err := readBaseline(o.baseline)
		if err != nil {
			return usageError{fmt.Errorf("--baseline: %w", err)}
		}
		c.Baseline = b
	}
	if o.newBaseline != "" {
		b, err := readBaseline(o.newBaseline)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return usageError{fmt.Errorf("--write-baseline would take the place of a file that is no baseline: %w", err)}
		}
		o.old = b
	}
	return nil
}

// readBaseline reads a file of --write-baseline.
func readBaseline(name string) (*rehearse.Baseline, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	b, err := rehearse.ParseBaseline(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// writeBaseline accepts every finding. A finding that was accepted before keeps its reason, and is
// kept if its scenario was not rehearsed.
func (o *rehearsalOutput) writeBaseline(r *rehearse.Report) error {
	b := r.Baseline(o.old)
	err := writeTo(o.newBaseline, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(b)
	})
	if err == nil {
		o.show(fmt.Sprintf("%s accepts %d findings now: lastcall rehearse --baseline %s\n", o.newBaseline, len(b.Accepted), o.newBaseline))
	}
	return err
}

// outputFile is a file for another tool.
type outputFile struct {
	flag, name string
	write      func(io.Writer, *rehearse.Report, error) error
}

// files returns the files that the flags ask for.
func (o *rehearsalOutput) files() (all []outputFile) {
	for _, one := range []outputFile{
		{"junit", o.junit, review.JUnit},
		{"html", o.html, func(w io.Writer, r *rehearse.Report, failed error) error {
			return review.HTML(w, o.origin(), r, failed)
		}},
		{"sarif", o.sarif, func(w io.Writer, r *rehearse.Report, failed error) error {
			return review.SARIF(w, o.origin(), r, failed)
		}},
	} {
		if one.name != "" {
			all = append(all, one)
		}
	}
	return all
}

// show writes text that page has made. Its only control characters are the page's own colors.
func (o *rehearsalOutput) show(text string) {
	if !o.asJSON {
		move(o.out, "%s", text)
	}
}

func (o *rehearsalOutput) scenario(s rehearse.Scenario) {
	o.number++
	o.events, o.drawn = nil, 0
	if title := o.page.Title(s, o.number, o.total); o.total == 1 || isTerminal(o.out) {
		o.show(title)
		o.drawn = strings.Count(title, "\n")
	}
}

func (o *rehearsalOutput) watch(e rehearse.Event) {
	o.events = append(o.events, e)
	if isTerminal(o.out) {
		o.show(o.page.Live(e))
		o.drawn++
	}
}

// ended replaces what was shown of a scenario while it ran by its timeline, in order.
func (o *rehearsalOutput) ended(r *rehearse.Result) {
	var text string
	if o.total > 1 {
		text = o.page.Line(r)
	} else {
		text = o.page.Title(r.Scenario, 1, 1)
	}
	if o.total == 1 || o.verbose || !r.OK() {
		text += o.page.Timeline(r)
		if o.total > 1 {
			text = "\n" + text
		}
	}
	switch {
	case isTerminal(o.out) && o.drawn < rows(o.out)-1:
		text = fmt.Sprintf("\x1b[%dA\x1b[J", o.drawn) + text
	case o.total == 1 && !isTerminal(o.out):
		text = o.page.Timeline(r) // its title is there
	}
	o.show(text)
	o.events, o.drawn = nil, 0
}

// rows is how many lines a terminal has.
func rows(w io.Writer) int {
	if s, ok := w.(*screen); ok && s.file != nil {
		if _, height, err := term.GetSize(int(s.file.Fd())); err == nil {
			return height
		}
	}
	return 24
}

// report writes the findings, or why there are none to know.
func (o *rehearsalOutput) report(r *rehearse.Report, failed error) error {
	if failed != nil && !isTerminal(o.out) {
		for _, e := range o.events {
			o.show(o.page.Live(e))
		}
	}
	var err error
	if r != nil && o.asJSON {
		encoder := json.NewEncoder(o.out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else if r != nil {
		o.show(o.page.Verdict(r))
	}
	if failed != nil {
		fmt.Fprintf(o.remarks, "lastcall: %s\n", review.Lines(failed.Error()))
	}
	if o.newBaseline != "" && r != nil {
		err = errors.Join(err, o.writeBaseline(r))
	}
	for _, one := range o.files() {
		err = errors.Join(err, writeTo(one.name, func(w io.Writer) error { return one.write(w, r, failed) }))
	}
	if o.github {
		err = errors.Join(err, o.toGitHub(r, failed))
	}
	return err
}

// notRehearsed reports why a program was not rehearsed. A command line that was not understood has
// no report.
func (o *rehearsalOutput) notRehearsed(cmd *cobra.Command, failed error) error {
	if errors.As(failed, new(usageError)) {
		return failed
	}
	o.out, o.remarks = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := o.report(nil, failed); err != nil {
		complain(o.remarks, err)
	}
	return exitError(2)
}

// toGitHub writes annotations into the log, and a page into the file that GitHub shows next to it.
func (o *rehearsalOutput) toGitHub(r *rehearse.Report, failed error) error {
	log := o.out
	if o.asJSON {
		log = o.remarks
	}
	if err := review.Annotations(log, o.source, r, failed); err != nil {
		return err
	}
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" {
		return nil
	}
	summary, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("--github: %w", err)
	}
	return errors.Join(review.Summary(summary, r, failed), summary.Close())
}

// writeTo replaces the content of a file.
func writeTo(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
