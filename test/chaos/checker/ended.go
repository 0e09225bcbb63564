package checker

import (
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkEnded checks the rule "ended".
func checkEnded(f *facts, breach breach) {
	for _, t := range f.tasks {
		if a := t.acceptedBy(); a != nil && len(t.records) == 0 && !f.lossy(a.answered.At) {
			breach(t.seq, "it was accepted as %s and is gone", a.id())
		}
		if len(t.records) > 1 {
			breach(t.seq, "it is in the store %d times", len(t.records))
		}
		for _, r := range t.records {
			say := func(format string, args ...any) { breach(t.seq, format, args...) }
			t.checkIdentity(r, say)
			t.checkStatus(r, say)
			t.checkRuns(r, say)
			if !f.touched(t) {
				t.checkCancelled(say)
			}
		}
	}
}

// say is what a check of one task calls for each breach.
type say func(format string, args ...any)

// id returns the id in the answer to an enqueue.
func (a add) id() string {
	if a.answered == nil || a.place >= len(a.answered.Answer.IDs) {
		return a.plan().ID
	}
	return a.answered.Answer.IDs[a.place]
}

// checkIdentity compares the requested task with the stored one.
func (t *task) checkIdentity(r history.Task, say say) {
	p := t.plan
	if a := t.acceptedBy(); a != nil && a.id() != "" && !strings.EqualFold(a.id(), r.ID) {
		say("it was accepted as %s and is there as %s", a.id(), r.ID)
	}
	if p.ID != "" && !strings.EqualFold(p.ID, r.ID) {
		say("it was to be %s and is %s", p.ID, r.ID)
	}
	if r.Kind != p.Kind {
		say("it is of kind %s instead of %s", r.Kind, p.Kind)
	}
	if p.Queue != "" && r.Queue != p.Queue {
		say("it is of queue %s instead of %s", r.Queue, p.Queue)
	}
	if r.Key != p.Key {
		say("it has the key %q instead of %q", r.Key, p.Key)
	}
}

// checkStatus compares how a task ended with what may have ended it that way.
func (t *task) checkStatus(r history.Task, say say) {
	switch r.Status {
	case succeeded:
		t.checkSuccess(r, say)
	case failed:
		if t.plan.Fail == 0 && t.plan.Exit == 0 {
			say("it has failed, and nothing in its plan fails: %s", r.Error)
		}
	case cancelled:
		if r.Reason != expired && !t.mayEndCancelled() {
			say("it is cancelled, and nobody has asked for it since it was retried, or at all")
		}
	default:
		say("it has not ended: it is %s %s", r.Status, r.Reason)
	}
}

// mayEndCancelled reports whether a cancel may have followed the last successful retry.
func (t *task) mayEndCancelled() bool {
	cancels, retries := t.may(history.Cancel), t.may(history.Retry)
	return slices.ContainsFunc(cancels, func(c control) bool {
		return !c.known() || !slices.ContainsFunc(retries, func(r control) bool { return r.known() && r.asked.N > c.answered.N })
	})
}

// checkSuccess checks that all steps, the result, and a run that has returned are there.
func (t *task) checkSuccess(r history.Task, say say) {
	effects := t.accepted()
	if n := done(effects); n != t.plan.Steps {
		say("it has succeeded, with %d of %d steps done", n, t.plan.Steps)
	}
	if r.Result < t.plan.Result {
		say("its result has %d bytes instead of %d", r.Result, t.plan.Result)
	}
	if len(r.Runs) == 0 {
		say("it has succeeded without a run")
		return
	}
	last := r.Runs[len(r.Runs)-1].Run
	returned := slices.ContainsFunc(effects, func(e effect) bool { return e.Fence == last && e.Step == history.Finished })
	if !returned && !t.plan.InTx { // a process can die between the commit and the last effect
		say("run %d has succeeded, and its handler had not returned", last)
	}
}

// checkRuns checks that a task did not continue after its end, and that its last run has the same
// end.
func (t *task) checkRuns(r history.Task, say say) {
	retried := len(t.may(history.Retry)) > 0
	for i, run := range r.Runs {
		last := i == len(r.Runs)-1
		switch run.Status {
		case succeeded, failed, cancelled:
			if !last && (run.Status == succeeded || !retried) {
				say("run %d has %s, and run %d followed", run.Run, run.Status, r.Runs[i+1].Run)
			}
			// Cancelled during its wait for a retry.
			waited := run.Status == failed && r.Status == cancelled && retried
			if last && run.Status != r.Status && !waited {
				say("it is %s, and its last run, %d, has %s", r.Status, run.Run, run.Status)
			}
		case queued, interrupted:
			if last && (r.Status == succeeded || r.Status == failed) {
				say("it has %s, and its last run, %d, became %s", r.Status, run.Run, run.Status)
			}
		default:
			say("run %d is still %s", run.Run, run.Status)
		}
	}
}

// checkCancelled checks that a task did not begin again and again after it was cancelled. One run
// may begin late: one that a worker had already claimed.
func (t *task) checkCancelled(say say) {
	retries := t.may(history.Retry)
	for _, c := range t.may(history.Cancel) {
		if !c.known() {
			continue
		}
		again := slices.ContainsFunc(retries, func(r control) bool { return r.answered == nil || r.answered.N > c.asked.N })
		begun := 0
		for _, e := range t.effects {
			if e.Step == history.Begun && e.at.N > c.answered.N {
				begun++
			}
		}
		if begun > 1 && !again {
			say("%d runs began after it was cancelled", begun)
		}
	}
}
