package lastcall

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The exit codes of a Report. A forced end by signal n is 128+n.
const (
	codeFailure     = 1
	codeAbandoned   = 3
	codeInterrupted = 75 // EX_TEMPFAIL: try again
)

// A Report is the outcome of a stop, for everyone who took part in it.
type Report struct {
	Signal os.Signal     // the signal that began the stop, or nil
	Cause  error         // the failure that began it, or nil
	Began  time.Time     // last call
	Took   time.Duration // from last call to the report
	Frozen time.Duration // about how long the process did not run meanwhile

	Finished    []Entry // ended during the stop, in their own time
	Interrupted []Entry // ended with an error after Interrupt: not done, and recorded nowhere
	Abandoned   []Entry // never returned, closers included

	// Notes are what AddNote was told, in the order in which the names came.
	Notes []Note
	// Failures are the errors and panics of setup, goroutines, loops, servers
	// and closers, in the order in which they came; the first 100 of them.
	Failures []error
	// BackgroundErrors is how often a Background failed since the start.
	BackgroundErrors int
}

// EntryKind is what an [Entry] of a Report is about.
type EntryKind string

// The kinds of what a group waits for.
const (
	EntrySetup      EntryKind = "setup"      // the function that Main was given
	EntryGo         EntryKind = "go"         // a goroutine of Group.Go
	EntryLoop       EntryKind = "loop"       // one of Group.Loop
	EntryBackground EntryKind = "background" // one of Group.Background
	EntryServer     EntryKind = "server"     // the goroutine that serves, of Group.HTTP or Group.Serve
	EntryRequest    EntryKind = "request"    // an HTTP request that a handler works on
	EntryConnection EntryKind = "connection" // a connection that a handler hijacked
	EntryCloser     EntryKind = "closer"     // a function of Group.Defer
)

// An Entry is about all goroutines, or requests, with the same kind and name.
type Entry struct {
	Kind  EntryKind     // what it is
	Name  string        // as it was started; for a request with its method and path
	Count int           // how many
	Age   time.Duration // of the oldest; 0 in Report.Finished
	// CallSite is folder/file.go:line of the call that started it; where several
	// have the name, of the first call.
	CallSite string
	Err      error  // the first error, in Report.Interrupted
	Stack    string // where its goroutines are, in Report.Abandoned; empty when the dump took too long

	label string // the name in the goroutine profile's labels
}

// ExitCode is the code to end the process with, the first of these that applies:
//
//   - 3: something was abandoned. It had not returned at Abandon, or is a closer
//     that overran its share of the time.
//   - 1: something failed: there are Failures.
//   - 75 (EX_TEMPFAIL, try again): plain work was interrupted, and is recorded
//     nowhere. A goroutine returned an error after Interrupt, or a request or a
//     call had not ended by then.
//   - 0: everything finished, or was a goroutine that returned nil after
//     Interrupt, which says that it recorded by itself what it could not finish.
//
// Main has two codes more: 128+n when a third signal, n, ended the process, and 3
// when the stop itself hung and the watchdog ended it.
func (r Report) ExitCode() int {
	switch {
	case len(r.Abandoned) > 0:
		return codeAbandoned
	case len(r.Failures) > 0:
		return codeFailure
	case len(r.Interrupted) > 0:
		return codeInterrupted
	}
	return 0
}

// String is the report for people: a summary, then a line for each name, the
// worst first, then the stacks.
func (r Report) String() string {
	var b strings.Builder
	by := ""
	switch {
	case r.Signal != nil:
		by = " by " + signalName(r.Signal)
	case r.Cause != nil:
		by = " by a failure"
	}
	fmt.Fprintf(&b, "stopped%s in %v, exit code %d: %d finished, %d interrupted, %d abandoned\n", by,
		r.Took.Round(time.Millisecond), r.ExitCode(), count(r.Finished), count(r.Interrupted), count(r.Abandoned))
	if r.Frozen > 0 {
		fmt.Fprintf(&b, "the process was frozen for about %v meanwhile\n", r.Frozen.Round(time.Millisecond))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	for _, e := range r.Abandoned {
		fmt.Fprintf(&b, "abandoned   %s\n", e)
	}
	for _, err := range r.Failures {
		fmt.Fprintf(&b, "failed      %s\n", indented(sound(err).Error()))
	}
	if r.BackgroundErrors > 0 {
		fmt.Fprintf(&b, "failed      %d times in the background\n", r.BackgroundErrors)
	}
	for _, e := range r.Interrupted {
		fmt.Fprintf(&b, "interrupted %s\n", e)
	}
	for _, e := range r.Finished {
		fmt.Fprintf(&b, "finished    %s\n", e)
	}
	for _, e := range r.Abandoned {
		if e.Stack != "" {
			fmt.Fprintf(&b, "\n%s %s is at\n%s", e.Kind, escaped(e.Name), e.Stack)
		}
	}
	return b.String()
}

// String is the entry in one line: kind, name, how many, how old, the call site.
func (e Entry) String() string {
	s := string(e.Kind) + " " + escaped(e.Name)
	if e.Count > 1 {
		s += fmt.Sprintf(" x%d", e.Count)
	}
	if e.Age > 0 {
		s += fmt.Sprintf(", %v old", e.Age.Round(time.Millisecond))
	}
	if e.CallSite != "" {
		s += ", started at " + e.CallSite
	}
	if e.Err != nil {
		s += ": " + indented(sound(e.Err).Error())
	}
	return s
}

// escaped writes what is no printable text as Go does in quotes, line breaks too: a name may be
// anybody's, and a report is read line by line.
func escaped(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// indented is a text of several lines, escaped, of which none but the first looks like a line of
// the report.
func indented(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, "\t"))] // as stacks have it
		lines[i] = indent + escaped(line[len(indent):])
	}
	return strings.Join(lines, "\n            ")
}

func (e Entry) attrs() []any {
	a := []any{"kind", string(e.Kind), "name", e.Name, "count", e.Count, "age", e.Age.Round(time.Millisecond), "call_site", e.CallSite}
	if e.Err != nil {
		a = append(a, "error", e.Err)
	}
	if e.Stack != "" {
		a = append(a, "stack", e.Stack)
	}
	return a
}

func (r Report) attrs() []any {
	a := []any{"code", r.ExitCode(), "took", r.Took.Round(time.Millisecond),
		"finished", count(r.Finished), "interrupted", count(r.Interrupted), "abandoned", count(r.Abandoned),
		"failures", len(r.Failures), "background_errors", r.BackgroundErrors}
	if r.Frozen > 0 {
		a = append(a, "frozen", r.Frozen.Round(time.Millisecond))
	}
	for _, n := range r.Notes {
		a = append(a, "note", n.String())
	}
	return a
}

// add adds those who ended during the stop, in their own time or after Interrupt.
func (r *Report) add(finished, interrupted []Entry) {
	r.Finished = append(r.Finished, finished...)
	r.Interrupted = append(r.Interrupted, interrupted...)
}

func (r *Report) sort() {
	sortEntries(r.Finished)
	sortEntries(r.Interrupted)
	sortEntries(r.Abandoned)
}

// clone returns a copy for a reader, of a stop that goes on.
func (r *Report) clone() Report {
	c := *r
	c.Took = time.Since(c.Began)
	c.Finished, c.Interrupted, c.Abandoned = slices.Clone(c.Finished), slices.Clone(c.Interrupted), slices.Clone(c.Abandoned)
	c.Failures, c.Notes = slices.Clone(c.Failures), slices.Clone(c.Notes)
	return c
}

func count(entries []Entry) int {
	n := 0
	for _, e := range entries {
		n += e.Count
	}
	return n
}

// sortEntries puts the oldest first, then goes by name, so that reports compare.
func sortEntries(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Age.Round(time.Second), a.Age.Round(time.Second)),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
}
