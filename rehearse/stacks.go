package rehearse

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Stack is where goroutines or threads of a program were that had not exited when its time was up.
// In Node.js it is where a worker thread was, or what kept an event loop alive, such as a timer.
type Stack struct {
	// Count is how many were there: goroutines in Go, threads elsewhere.
	Count int `json:"count"`
	// State is what they waited for, in the words of the runtime.
	State string `json:"state,omitempty"`
	// Frames are the functions with file and line, the innermost one first.
	Frames []string `json:"frames"`
	// CreatedBy is the function that started them, empty for the first one of a program.
	CreatedBy string `json:"created_by,omitempty"`
}

const (
	// maxDump bounds how much of a dump of all goroutines is read, and dumpPatience how long that may
	// take.
	maxDump      = 4 << 20
	dumpPatience = time.Second
	// maxStacks bounds the stacks that are kept: a program hangs at a few places, however many
	// goroutines it has.
	maxStacks = 20
)

// dump describes how a runtime is made to write the stacks of everything that it runs.
type dump struct {
	signal syscall.Signal
	what   string
	// complete reports whether the dump is. It is settled if the program has written something, and
	// writes no more.
	complete func(settled bool) bool
	// read parses what the program has written to its output since.
	read func(output string) []Stack
	done func() // removes what was made for the dump; nil for nothing
}

// dump returns nil for a program whose stacks cannot be read.
func (p *program) dump() *dump {
	atExit := func(bool) bool { return false }
	settled := func(settled bool) bool { return settled }
	switch name := p.runtime(); {
	case p.isGo:
		return &dump{signal: syscall.SIGQUIT, what: "goroutines", complete: atExit, read: goroutines}
	case name == "java":
		return &dump{signal: syscall.SIGQUIT, what: "threads", complete: settled, read: javaThreads}
	case strings.HasPrefix(name, "python"):
		// PYTHONFAULTHANDLER is set.
		return &dump{signal: syscall.SIGABRT, what: "threads", complete: settled, read: pythonThreads}
	case name == "node":
		return p.nodeDump()
	}
	return nil
}

// stacks reads the stacks of a program that has not exited. That may terminate the program.
func (r *rehearsal) stacks(ctx context.Context) error {
	p := r.stopped
	if r.frozen || r.hung { // once is enough
		return nil
	}
	d := p.dump()
	if d == nil {
		return nil
	}
	if d.done != nil {
		defer d.done()
	}
	p.output.record(maxDump)
	if err := p.stop(d.signal); err != nil {
		return fmt.Errorf("rehearse: send %s: %w", signalName(d.signal), err)
	}
	if err := r.awaitDump(ctx, d); err != nil {
		return err
	}
	all := d.read(p.output.recorded())
	if len(all) == 0 {
		return nil // the program handles the signal itself
	}
	r.result.Stacks = all
	r.say(signalName(d.signal), "its %s: %s", d.what, summary(all))
	return nil
}

// awaitDump waits until a dump is written, or the program has exited.
func (r *rehearsal) awaitDump(ctx context.Context, d *dump) error {
	const look = 100 * time.Millisecond
	p := r.stopped
	for until, before := time.Now().Add(dumpPatience), 0; time.Now().Before(until); {
		if err := r.wait(ctx, time.Now().Add(look), p.exited); err != nil {
			return err
		}
		written := len(p.output.recorded())
		if p.hasEnded() || d.complete(written > 0 && written == before) {
			break
		}
		before = written
	}
	patience := dumpPatience
	if p.isolation != namespace || !p.hasEnded() {
		patience /= 10 // its supervisor or the program keeps the output open
	}
	return r.wait(ctx, time.Now().Add(patience), p.drained)
}

// summary names the first places in a line.
func summary(all []Stack) string {
	const most = 3
	var places []string
	for _, s := range all[:min(most, len(all))] {
		place, _, _ := strings.Cut(s.Frames[0], " ")
		text := fmt.Sprintf("%d in %s", s.Count, place)
		if s.State != "" {
			text += " (" + s.State + ")"
		}
		places = append(places, text)
	}
	if more := len(all) - most; more > 0 {
		places = append(places, fmt.Sprintf("and %d other places", more))
	}
	return strings.Join(places, ", ")
}
