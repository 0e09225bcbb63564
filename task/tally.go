package task

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lastcall-go/lastcall"
)

// tally counts the runs that ended in a stop, by outcome, for the group's report, which otherwise
// knows only about the worker.
type tally struct {
	mu sync.Mutex
	n  map[outcome]int

	noting sync.Mutex // held from reading the tally until its note is in the report
}

// outcome is a task's new status, and the reason if it was interrupted.
type outcome struct {
	status Status
	reason Reason
}

// add counts an end that was written.
func (t *tally) add(c *Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[outcome]int)
	}
	t.n[outcome{c.Status, c.Reason}]++
}

// words are the names of the statuses in a note, in its order.
var words = []struct {
	status Status
	word   string
}{
	{StatusSucceeded, "finished"}, {StatusFailed, "failed"}, {StatusCancelled, "cancelled"}, {StatusQueued, "queued again"}, {StatusInterrupted, "interrupted"},
}

// String returns the tally for people; it is empty when nothing has ended.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, w := range words {
		var of []outcome
		for o := range t.n {
			if o.status == w.status {
				of = append(of, o)
			}
		}
		slices.SortFunc(of, func(a, b outcome) int { return cmp.Or(t.n[b]-t.n[a], cmp.Compare(a.reason, b.reason)) })
		for _, o := range of {
			text := fmt.Sprint(t.n[o], " ", w.word)
			if o.reason != "" {
				text += fmt.Sprintf(" (%s)", o.reason)
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}

// note adds the tally of the worker's tasks so far to the report of the stop.
func (w *Worker) note() {
	if !closed(w.lastCall) {
		return
	}
	w.tally.noting.Lock() // otherwise an older text could replace a newer one
	defer w.tally.noting.Unlock()
	text := w.tally.String()
	if n := w.unrecorded.Load(); n > 0 {
		text = strings.TrimPrefix(text+fmt.Sprintf(", %d not recorded", n), ", ")
	}
	if text != "" {
		lastcall.AddNote(w.base, w.tasksOf, text)
	}
}
