package task

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// PauseKind wraps the error by which a handler reports that its machine or process lacks something
// that every task of its kind needs: room on a disk, file descriptors, a device, a program. Use it
// for what another worker may well have, and not for a fault of the task. PauseKind(nil) is nil.
//
// The task is released: it is interrupted with [ReasonReleased], with the error's text and, if the
// error also wraps one of [Run.HandOver], with that checkpoint. No counter counts the run, even
// after the timeout and during a stop. Another worker can claim the task at once.
//
// This worker pauses the kind: it claims none of its tasks for a second. Then it tries a single
// one. As long as tries end in PauseKind too, the pause doubles each time, up to a minute, with a
// fifth more or less at random. A task that was tried so waits as long as the pause, at most 10 s.
// The pause ends when a try returns anything else, or has gone on for 5 s. Tasks of the kind that
// run meanwhile go on.
//
// [Worker.PausedKinds], [Worker.Ready] and the worker's [WorkerInfo] report what is paused and why.
//
// There is no limit: where every worker lacks it, the tasks wait and are tried for ever. A handler
// that returns PauseKind for what only one task lacks keeps that task from ever failing, and pauses
// the kind for the others.
func PauseKind(err error) error {
	if err == nil {
		return nil
	}
	return &pauseError{err}
}

type pauseError struct{ err error }

func (e *pauseError) Error() string { return e.err.Error() }
func (e *pauseError) Unwrap() error { return e.err }

// PausedKind is a kind that a worker does not run now, since its handler has returned [PauseKind].
type PausedKind struct {
	// Kind is its name.
	Kind string `json:"kind"`
	// Reason is the operating system's text, such as "too many open files", where the error wraps a
	// syscall.Errno, and otherwise "other". There are few of them, so it can be a metric's label.
	Reason string `json:"reason"`
	// Error is the first line of the error, at most 1000 bytes of it.
	Error string `json:"error"`
}

const (
	// tryProves is how long a try must have gone on to end a pause.
	tryProves = 5 * time.Second
	// maxReleaseDelay bounds how long a task waits that was tried during a pause.
	maxReleaseDelay = 10 * time.Second
	// maxLackText bounds the text of a PausedKind.
	maxLackText = 1000
	// otherReason is the reason of an error that does not come from a system call.
	otherReason = "other"
)

var pauseBackoff = jittered(doubling(time.Second, time.Minute))

// lack is what the worker lacks, as a handler has reported it.
type lack struct {
	reason, text string
	// process: every kind of the process lacks it.
	process bool
}

// findLack finds what the worker lacks, if the handler's error reports it. The error's methods are
// the handler's code; decide finds out about their panics too.
func (e *ending) findLack() {
	if e.err == nil {
		return
	}
	var bad *PanicError
	defer recovered(&bad)
	said, ok := errors.AsType[*pauseError](e.err)
	if !ok || IsPermanent(e.err) || is[*PanicError](e.err) {
		return
	}
	l := &lack{reason: otherReason, text: storable(firstLine(said.Error()), maxLackText)}
	if errno, ok := errors.AsType[syscall.Errno](said.err); ok && errno != 0 {
		l.reason = errno.Error()
		switch errno {
		case syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM:
			l.process = true
		}
	}
	e.lack = l
}

// pauses knows which kinds a worker has paused, and when one task of them is to be tried.
type pauses struct {
	log *slog.Logger

	any   atomic.Bool // a kind is paused; a hundred thousand runs that end do not wait for mu
	mu    sync.Mutex
	kinds map[string]*pausedKind
	news  bool // there is something that no beat has said yet
}

// pausedKind is the pause of one kind.
type pausedKind struct {
	lack  *lack
	tries int       // how many have failed, with the one that began the pause
	until time.Time // when the next one is due
	try   *Run      // the one that is under way
	tried string    // the task that was tried last, and is not the next one if there are others
}

// returned is called for each run whose handler has returned, with what its worker lacks, or nil.
// It returns how long the task has to wait then.
func (p *pauses) returned(r *Run, l *lack) (delay time.Duration) {
	if l == nil && !p.any.Load() {
		return 0
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.kinds[r.task.Kind]
	switch {
	case k == nil && l == nil:
		return 0
	case k == nil:
		k = new(pausedKind)
		if p.kinds == nil {
			p.kinds = make(map[string]*pausedKind)
		}
		p.kinds[r.task.Kind] = k
		p.any.Store(true)
	case k.try != r:
		return 0 // it began before the pause: it proves nothing
	case l == nil:
		p.end(r.task.Kind)
		return 0
	}
	k.tries++
	wait := pauseBackoff(k.tries)
	if k.try == r {
		delay = min(wait, maxReleaseDelay)
	}
	k.lack, k.until, k.try, k.tried, p.news = l, now.Add(wait), nil, r.task.ID, true
	p.log.Warn("kind paused on this worker, which cannot run it now", "kind", r.task.Kind, "error", l.text, "next_try_in", wait.Round(time.Millisecond),
		"tries", k.tries)
	return delay
}

// end ends a pause. p.mu is held.
func (p *pauses) end(kind string) {
	p.log.Info("kind no longer paused on this worker", "kind", kind, "tries", p.kinds[kind].tries)
	delete(p.kinds, kind)
	p.any.Store(len(p.kinds) > 0)
	p.news = true
}

// admit removes the paused kinds from a claim, except for one task of each kind that is to be
// tried.
func (p *pauses) admit(req *ClaimRequest, now time.Time) {
	if !p.any.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, k := range p.kinds {
		if k.try != nil && now.Sub(k.try.claimed) >= tryProves {
			p.end(name)
		}
	}
	req.Kinds = slices.DeleteFunc(req.Kinds, func(c KindClaim) bool {
		k := p.kinds[c.Kind]
		return k != nil && (k.try != nil || now.Before(k.until))
	})
	for i := range req.Kinds {
		k := p.kinds[req.Kinds[i].Kind]
		if k == nil {
			continue
		}
		req.Kinds[i].Max = 1
		if now.Sub(k.until) < k.patience() {
			req.Except = append(req.Except, k.tried)
		}
	}
}

// patience is how long to look for another task than the one that was tried last.
func (k *pausedKind) patience() time.Duration { return min(pauseBackoff(k.tries)/2, tryProves) }

// claimed is called for each claimed run; a run of a paused kind is a try.
func (p *pauses) claimed(r *Run) {
	if !p.any.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kinds[r.task.Kind]; k != nil && k.try == nil && !r.claimed.Before(k.until) {
		k.try = r
	}
}

// gaveBack is called for each run that is released and has not begun.
func (p *pauses) gaveBack(r *Run) {
	if !p.any.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kinds[r.task.Kind]; k != nil && k.try == r {
		k.try = nil
	}
}

// list returns what is paused, sorted by kind, and whether the whole process lacks something.
func (p *pauses) list() (paused []PausedKind, process bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, k := range p.kinds {
		paused = append(paused, PausedKind{Kind: name, Reason: k.lack.reason, Error: k.lack.text})
		process = process || k.lack.process
	}
	slices.SortFunc(paused, func(a, b PausedKind) int { return cmp.Compare(a.Kind, b.Kind) })
	return paused, process
}

// takeNews reports whether there is something that no beat has reported, and assumes that the next
// beat will.
func (p *pauses) takeNews() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.news
	p.news = false
	return news
}

// said returns what a beat reports.
func (p *pauses) said() []PausedKind {
	paused, _ := p.list()
	return paused
}

// PausedKinds returns the kinds that the worker does not run now because their handlers have said
// [PauseKind], sorted by name.
func (w *Worker) PausedKinds() []PausedKind { return w.pauses.said() }

// Ready returns nil, or an error when the worker can run nothing now: it has paused every kind of
// its Mux ([PauseKind]), or one for lack of file descriptors, processes or memory, which the whole
// process lacks. The text has the reasons, but neither kinds nor texts of handlers: a probe may
// show it to everybody.
func (w *Worker) Ready() error {
	paused, process := w.pauses.list()
	if len(paused) == 0 || !process && len(paused) < len(w.mux.Kinds()) {
		return nil
	}
	var reasons []string
	for _, k := range paused {
		reason := k.Reason
		if reason == otherReason {
			reason = "a handler says so"
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	what := "every kind is paused on this worker"
	if len(paused) < len(w.mux.Kinds()) {
		what = "the worker's process lacks what each kind needs"
	}
	return errors.New(what + ": " + strings.Join(reasons, ", "))
}
