package review

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Cases     []junitCase `xml:"testcase"`
	SystemOut string      `xml:"system-out,omitempty"`
}

type junitCase struct {
	ClassName string       `xml:"classname,attr"`
	Name      string       `xml:"name,attr"`
	Time      string       `xml:"time,attr"`
	Skipped   *junitRemark `xml:"skipped"`
	Error     *junitRemark `xml:"error"`
	Failure   *junitRemark `xml:"failure"`
	SystemOut string       `xml:"system-out,omitempty"`
}

type junitRemark struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes a report as test results: a suite for each scenario, a test for each check. A
// warning is a test that passes with output, since JUnit has no warnings. A finding that the
// baseline accepts is a skipped test. A rehearsal that has failed is a test with an error; the
// report may then be nil.
func JUnit(w io.Writer, r *rehearse.Report, failed error) error {
	all := junitSuites{Name: "lastcall rehearse"}
	var took time.Duration
	if r != nil {
		r = cleaned(r)
		for i := range r.Results {
			suite, lasted := junitScenario(&r.Results[i])
			all.Suites = append(all.Suites, suite)
			took += lasted
		}
	}
	if failed != nil {
		all.Suites = append(all.Suites, junitSuite{Name: "rehearsal", Tests: 1, Errors: 1, Time: "0.00", Cases: []junitCase{{
			ClassName: "lastcall.rehearse", Name: "the program can be rehearsed", Time: "0.00",
			Error: &junitRemark{Message: clean(failed.Error()), Type: "error", Text: Lines(failed.Error())},
		}}})
	}
	for _, suite := range all.Suites {
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
		all.Skipped += suite.Skipped
	}
	all.Time = fmt.Sprintf("%.2f", took.Seconds())
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

// junitScenario returns a scenario as a suite, and how long it took.
func junitScenario(r *rehearse.Result) (junitSuite, time.Duration) {
	suite := junitSuite{Name: string(r.Scenario), SystemOut: "\n" + Page{}.Timeline(r)}
	took := lasted(r)
	suite.Time = fmt.Sprintf("%.2f", took.Seconds())
	add := func(code rehearse.Code, c junitCase) {
		c.ClassName, c.Time = "lastcall.rehearse."+string(r.Scenario), "0.00"
		c.Name = "no " + string(code) + ": the program " + code.Title() // the same, found or not
		suite.Cases = append(suite.Cases, c)
	}
	for _, f := range r.Findings {
		text := strings.Join([]string{f.Seen, f.Code.Why(), f.Code.Change()}, "\n")
		switch levelOf(f) {
		case failure:
			suite.Failures++
			add(f.Code, junitCase{Failure: &junitRemark{Message: f.Seen, Type: string(f.Code), Text: text}})
		case accepted:
			suite.Skipped++
			add(f.Code, junitCase{Skipped: &junitRemark{Message: "accepted by the baseline: " + f.Seen}})
		case passed, warning:
			add(f.Code, junitCase{SystemOut: "warning: " + text})
		}
	}
	for _, code := range r.Passed {
		add(code, junitCase{})
	}
	if r.Skipped != "" {
		suite.Skipped++
		suite.Cases = append(suite.Cases, junitCase{
			ClassName: "lastcall.rehearse." + string(r.Scenario), Name: "the scenario is rehearsed", Time: "0.00", Skipped: &junitRemark{Message: r.Skipped},
		})
	}
	suite.Tests = len(suite.Cases)
	return suite, took
}
