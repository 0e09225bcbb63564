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

	"github.com/lastcall-go/lastcall/internal/signals"
)

// The exit codes of a Report. A forced end by signal n is 128+n.
const (
	codeFailure     = 1
	codeAbandoned   = 3
	codeInterrupted = 75 // EX_TEMPFAIL: try again
)

// A Report is the outcome of a stop: of every goroutine, request, server and closer in it.
type Report struct {
	Signal os.Signal     // the signal that began the stop, or nil
	Cause  error         // the failure that began the stop, or nil
	Began  time.Time     // the moment of last call
	Took   time.Duration // from last call to the report
	Frozen time.Duration // how long the process was frozen during the stop, approximately

	Finished []Entry // ended during the stop; a goroutine that returned nil after Interrupt too
	// Ended after Interrupt, goroutines with an error: unfinished, and recorded nowhere.
	Interrupted []Entry
	Abandoned   []Entry // had not returned at Abandon, or closers that overran their time

	// Notes are the notes of AddNote, in the order in which their names were first used.
	Notes []Note
	// Failures are the errors and panics of setup, goroutines, loops, servers
	// and closers, in the order in which they happened; the first 100 of them.
	Failures []error
	// BackgroundErrors is how often a Background failed since the start.
	BackgroundErrors int

	overdue bool // the stop itself hung, and the watchdog ended the process
}

// A Note is a line of a Report about the outcome of work that the group does not count.
type Note struct {
	Name string // the work that it is about, such as tasks
	Text string
}

// EntryKind is the kind of work that an [Entry] of a Report is about.
type EntryKind string

// The kinds of work that a group waits for.
const (
	EntrySetup      EntryKind = "setup"      // the setup function of Main
	EntryGo         EntryKind = "go"         // a goroutine of Group.Go
	EntryLoop       EntryKind = "loop"       // a goroutine of Group.Loop
	EntryBackground EntryKind = "background" // a goroutine of Group.Background
	EntryServer     EntryKind = "server"     // the serving goroutine of Group.HTTP or Group.Serve
	EntryRequest    EntryKind = "request"    // an HTTP request whose handler has not returned
	EntryConnection EntryKind = "connection" // a connection that a handler hijacked
	EntryCloser     EntryKind = "closer"     // a function of Group.Defer
)

// An Entry is about all goroutines, or requests, with the same kind and name.
type Entry struct {
	Kind  EntryKind     // the kind of work
	Name  string        // the name it was started with; for a request also its method and path
	Count int           // how many have this kind and name
	Age   time.Duration // the age of the oldest; 0 in Report.Finished
	// CallSite is folder/file.go:line of the call that started it; if several
	// share the name, of the first call.
	CallSite string
	Err      error // the first error, in Report.Interrupted
	// The stacks of its goroutines, in Report.Abandoned; empty if the dump took too long.
	Stack string

	label string // the name in the goroutine profile's labels
}

// ExitCode returns the exit code for the process, the first of these that applies:
//
//   - 3: something was abandoned. It had not returned at Abandon, or is a closer
//     that overran its share of the time. Or the stop itself hung.
//   - 1: something failed: there are Failures.
//   - 75 (EX_TEMPFAIL, try again): plain work was interrupted, and is recorded
//     nowhere. A goroutine returned an error after Interrupt, or a request or a
//     call had not ended by then.
//   - 0: everything finished. A goroutine that returned nil after Interrupt counts as
//     finished: it has recorded by itself what it could not finish.
//
// Main can also end the process with 128+n, after a third signal n.
func (r Report) ExitCode() int {
	switch {
	case len(r.Abandoned) > 0 || r.overdue:
		return codeAbandoned
	case len(r.Failures) > 0:
		return codeFailure
	case len(r.Interrupted) > 0:
		return codeInterrupted
	}
	return 0
}

// String returns the report as text: a summary, then a line for each name, the
// worst outcomes first, then the stacks.
func (r Report) String() string {
	var b strings.Builder
	by := ""
	switch {
	case r.Signal != nil:
		by = " by " + signals.Name(r.Signal)
	case r.Cause != nil:
		by = " by a failure"
	}
	fmt.Fprintf(&b, "stopped%s in %v, exit code %d: %d finished, %d interrupted, %d abandoned\n", by,
		r.Took.Round(time.Millisecond), r.ExitCode(), count(r.Finished), count(r.Interrupted), count(r.Abandoned))
	if r.overdue {
		b.WriteString("the stop itself hung: the watchdog ended the process\n")
	}
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

// String returns the entry as one line: kind, name, count, age and call site.
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

// String returns the note as one line.
func (n Note) String() string { return escaped(n.Name) + ": " + escaped(n.Text) }

// escaped escapes characters that are not printable, line breaks included, as in a Go string. A
// name may come from outside, and a report is read line by line.
func escaped(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// indented returns a text of several lines, escaped. It indents all lines but the first, so that
// none of them looks like a line of the report.
func indented(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		// The lines of a stack begin with tabs.
		indent := line[:len(line)-len(strings.TrimLeft(line, "\t"))]
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

// add adds entries for work that ended during the stop.
func (r *Report) add(finished, interrupted []Entry) {
	r.Finished = append(r.Finished, finished...)
	r.Interrupted = append(r.Interrupted, interrupted...)
}

func (r *Report) sort() {
	sortEntries(r.Finished)
	sortEntries(r.Interrupted)
	sortEntries(r.Abandoned)
}

// clone returns a copy of the report of a stop that is not over, to be read without the lock.
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

// sortEntries sorts by age, the oldest first, then by name, so that reports can be compared.
func sortEntries(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Age.Round(time.Second), a.Age.Round(time.Second)),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
}
