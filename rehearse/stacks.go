package rehearse

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Stack is where something of a program stood that had not ended when its time was over.
type Stack struct {
	// Count is how many stood there: goroutines in Go.
	Count int `json:"count"`
	// State is what they waited for, as the runtime calls it.
	State string `json:"state,omitempty"`
	// Frames are the functions with file and line, the innermost one first.
	Frames []string `json:"frames"`
	// CreatedBy is the function that started them, empty for the first one of a program.
	CreatedBy string `json:"created_by,omitempty"`
}

const (
	// maxDump bounds what is read of a dump of all goroutines, and dumpPatience the time for it.
	maxDump      = 4 << 20
	dumpPatience = time.Second
	// maxStacks bounds what is kept: a program has a few places where it hangs, however many goroutines.
	maxStacks = 20
)

// stacks asks a program that has not ended where it stands. It costs the program its life.
func (r *rehearsal) stacks(ctx context.Context) error {
	p := r.stopped
	if !p.isGo || r.frozen || r.hung { // once is enough
		return nil
	}
	p.output.record(maxDump)
	if err := p.stop(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("rehearse: send SIGQUIT: %w", err)
	}
	if err := r.wait(ctx, time.Now().Add(dumpPatience), p.exited); err != nil {
		return err
	}
	patience := dumpPatience
	if p.isolation != namespace {
		patience /= 10 // its supervisor keeps the output open
	}
	if err := r.wait(ctx, time.Now().Add(patience), p.drained); err != nil {
		return err
	}
	all := goroutines(p.output.recorded())
	if len(all) == 0 {
		return nil // it handles SIGQUIT itself
	}
	r.result.Stacks = all
	r.say("SIGQUIT", "its goroutines: %s", summary(all))
	return nil
}

// summary names the first places in a line.
func summary(all []Stack) string {
	const most = 3
	var places []string
	for _, s := range all[:min(most, len(all))] {
		place, _, _ := strings.Cut(s.Frames[0], " ")
		places = append(places, fmt.Sprintf("%d in %s (%s)", s.Count, place, s.State))
	}
	if more := len(all) - most; more > 0 {
		places = append(places, fmt.Sprintf("and %d other places", more))
	}
	return strings.Join(places, ", ")
}
