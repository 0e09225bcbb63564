package lastcall

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// The exit codes of a Report. A forced end by signal n is 128+n.
const (
	codeFailure     = 1
	codeAbandoned   = 3
	codeInterrupted = 75 // EX_TEMPFAIL: try again
)

// A Report is what became of everyone at a stop.
type Report struct {
	Signal os.Signal     // the signal that began the stop, or nil
	Cause  error         // the failure that began it, or nil
	Began  time.Time     // last call
	Took   time.Duration // from last call to the report
	Frozen time.Duration // about how long the process did not run meanwhile

	Finished    []Entry // ended during the stop, in their own time
	Interrupted []Entry // ended with an error after Interrupt: not done, and recorded nowhere
	Abandoned   []Entry // never returned, closers included

	// Failures are the errors and panics of setup, goroutines, loops, servers
	// and closers, in the order in which they came; the first 100 of them.
	Failures []error
	// BackgroundErrors is how often a Background failed since the start.
	BackgroundErrors int
}

// A Entry is about everyone with the same kind and name.
type Entry struct {
	Kind  EntryKind     // what it is
	Name  string        // as it was started; for a request with its method and path
	Count int           // how many
	Age   time.Duration // of the oldest; 0 in Report.Finished
	Site  string        // folder/file.go:line where the name was first started
	Err   error         // the first error, in Report.Interrupted
	Stack string        // where they stand, in Report.Abandoned; empty when the dump took too long

	label string // the name in the goroutine profile's labels
}

// ExitCode is the code to end the process with: 3 when somebody was abandoned,
// else 1 when something failed, else 75 when plain work was interrupted and is
// recorded nowhere, else 0.
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
	for _, l := range r.Abandoned {
		fmt.Fprintf(&b, "abandoned   %s\n", l)
	}
	for _, err := range r.Failures {
		fmt.Fprintf(&b, "failed      %v\n", err)
	}
	if r.BackgroundErrors > 0 {
		fmt.Fprintf(&b, "failed      %d times in the background\n", r.BackgroundErrors)
	}
	for _, l := range r.Interrupted {
		fmt.Fprintf(&b, "interrupted %s\n", l)
	}
	for _, l := range r.Finished {
		fmt.Fprintf(&b, "finished    %s\n", l)
	}
	for _, l := range r.Abandoned {
		if l.Stack != "" {
			fmt.Fprintf(&b, "\n%s %s is at\n%s", l.Kind, l.Name, l.Stack)
		}
	}
	return b.String()
}

// String is one line: kind, name, how many, how old, where from.
func (l Entry) String() string {
	s := string(l.Kind) + " " + l.Name
	if l.Count > 1 {
		s += fmt.Sprintf(" x%d", l.Count)
	}
	if l.Age > 0 {
		s += fmt.Sprintf(", %v old", l.Age.Round(time.Millisecond))
	}
	if l.Site != "" {
		s += ", started at " + l.Site
	}
	if l.Err != nil {
		s += ": " + l.Err.Error()
	}
	return s
}

func (l Entry) attrs() []any {
	a := []any{"kind", string(l.Kind), "name", l.Name, "count", l.Count, "age", l.Age.Round(time.Millisecond), "site", l.Site}
	if l.Err != nil {
		a = append(a, "error", l.Err)
	}
	if l.Stack != "" {
		a = append(a, "stack", l.Stack)
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
	return a
}

// addServer adds a server's requests that ended during the stop.
func (r *Report) addServer(s server) {
	finished, cut := s.served()
	r.Finished = append(r.Finished, finished...)
	r.Interrupted = append(r.Interrupted, cut...)
}

// addSites adds what the registry counted during the stop.
func (r *Report) addSites(sites []*site, base time.Time) {
	for _, s := range sites {
		l := Entry{Kind: s.kind, Name: s.name, Site: s.where}
		if n := s.finished.Load(); n > 0 {
			l.Count = int(n)
			r.Finished = append(r.Finished, l)
		}
		if n := s.interrupted.Load(); n > 0 {
			l.Count = int(n)
			l.Age = time.Since(base) - time.Duration(s.oldest.Load()-1)
			if err := s.err.Load(); err != nil {
				l.Err = *err
			}
			r.Interrupted = append(r.Interrupted, l)
		}
	}
}

func count(lines []Entry) int {
	n := 0
	for _, l := range lines {
		n += l.Count
	}
	return n
}

// sortLines puts the oldest first, then goes by name, so that reports compare.
func sortLines(lines []Entry) {
	slices.SortStableFunc(lines, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Age.Round(time.Second), a.Age.Round(time.Second)),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
}
