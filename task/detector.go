package task

import (
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/internal/stackdump"
)

// unresponsiveAfter is how long a handler may go on after its context has ended, by timeout,
// cancel, interrupt or a lost lease, before the worker reports it as unresponsive.
const unresponsiveAfter = 10 * time.Second

// maxUnresponsive bounds the tasks that a beat names.
const maxUnresponsive = 100

// detector finds the unresponsive handlers. It reports each of them once: a warning for those of
// one kind, with the places where handlers of that kind stand, and an event for each. The beats
// name their tasks.
type detector struct {
	log      *slog.Logger
	observer *observer
	slots    *slots

	dumps sync.WaitGroup // a dump of the stacks may take long

	mu    sync.Mutex
	tasks []string // as of the last look
}

// look is called about once a second, by one goroutine, with a list of all runs, which it modifies.
func (d *detector) look(now time.Time, runs []*Run) {
	var (
		n     int
		tasks []string
		found = make(map[string][]*Run) // by kind, those that were not found before
	)
	for _, r := range d.slots.begun(slices.DeleteFunc(runs, (*Run).goesOn)) {
		if over := r.contextEnded(now); over.IsZero() || now.Sub(over) < unresponsiveAfter {
			continue
		}
		if n++; n <= maxUnresponsive {
			tasks = append(tasks, r.task.ID)
		}
		if !r.reported {
			r.reported = true
			found[r.task.Kind] = append(found[r.task.Kind], r)
		}
	}
	d.slots.open(n)
	d.mu.Lock()
	d.tasks = tasks
	d.mu.Unlock()
	for kind, runs := range found {
		for _, r := range runs {
			d.observer.tellUnresponsive(r)
		}
		d.dumps.Go(func() { d.warn(kind, runs) })
	}
}

// named returns the tasks of the unresponsive handlers.
func (d *detector) named() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.tasks)
}

// warn logs where the handlers of a kind stand.
func (d *detector) warn(kind string, runs []*Run) {
	tasks := make([]string, 0, 10)
	for _, r := range runs[:min(len(runs), cap(tasks))] {
		tasks = append(tasks, r.task.ID)
	}
	d.log.Warn("handler unresponsive: it goes on after the end of its context, and keeps its slot", "kind", kind, "handlers", len(runs),
		"tasks", strings.Join(tasks, " "), "ended_by", runs[0].overBy, "stack", findHandlers(stackdump.Take(), kind))
}

// goesOn reports whether the context of a run has certainly not ended.
func (r *Run) goesOn() bool { return r.policy.timeout <= 0 && r.ctx.cause() == nil }

// contextEnded returns when the context of a run ended whose handler has not returned, or zero. One
// goroutine calls it.
func (r *Run) contextEnded(now time.Time) time.Time {
	if r.ctx.over.Load() {
		return time.Time{} // the handler has returned, and its end is being written
	}
	if !r.contextOver.IsZero() {
		return r.contextOver
	}
	deadline := r.started.Add(r.policy.timeout)
	switch cause := r.ctx.cause(); {
	case r.policy.timeout > 0 && now.After(deadline):
		r.contextOver, r.overBy = deadline, "the timeout of its kind"
	case cause != nil:
		r.contextOver, r.overBy = now, cause.Error()
	}
	return r.contextOver
}

// kindLabel marks the goroutines that call handlers in profiles.
const kindLabel = "task_kind"

// maxPlaces and maxStack bound what is logged about a kind's stacks.
const (
	maxPlaces = 4
	maxStack  = 4 << 10
)

// findHandlers returns the different places where the handlers of a kind stand.
func findHandlers(records iter.Seq[stackdump.Record], kind string) string {
	var out strings.Builder
	places := 0
	for r := range records {
		if r.Label(kindLabel) != kind {
			continue
		}
		stack, ours := handlerStack(r)
		if !ours {
			continue
		}
		if places++; places > maxPlaces {
			continue
		}
		fmt.Fprintf(&out, "%s at\n%s", r.Count(), stack)
	}
	if more := places - maxPlaces; more > 0 {
		fmt.Fprintf(&out, "and at %d other places\n", more)
	}
	return out.String()
}

// handlerStack returns the frames of a handler, and reports whether there is one.
func handlerStack(r stackdump.Record) (stack string, ours bool) {
	var out strings.Builder
	ours = r.Truncated()
	for f := range r.Frames() {
		if strings.HasSuffix(f.Func, "/lastcall/task.(*Worker).execute") {
			return out.String(), true
		}
		// The wrapping of the payload's type.
		if out.Len() < maxStack && !strings.Contains(f.Func, "lastcall/task.Handle[") {
			out.WriteString(f.String())
		}
	}
	return out.String(), ours
}
