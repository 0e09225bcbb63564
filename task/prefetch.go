package task

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// A worker that has tasks of a few milliseconds would spend more time on waiting for its claims
// than on handlers. So it claims ahead: beyond its free slots as many tasks as handlers are likely
// to return while the claim is under way, and a batch more, so that a claim has not to be made for
// each. It does so only where there is more to do than can be done, and where it has seen nothing
// but short handlers for a while: behind a long one the others would wait, and no other worker
// could take them.
//
// What is claimed and has not begun is running for everybody else. So it does not wait for long:
// when handlers keep their slots against expectation, and at last call, those that wait are given
// back.
type ahead struct {
	// slots that are taken; it grows only under the worker's lock. A hundred thousand handlers that
	// return at once do not wait for that lock, one after the other: this and what follows is
	// counted without.
	atWork atomic.Int64
	// waits is whether waiting has any.
	waits atomic.Bool
	// handlers that have returned since the last claim, for how long they ran, together and at
	// most.
	returned, took, longest atomic.Int64

	// The worker's lock guards the rest.

	// waiting are the runs that have no slot yet, the first first.
	waiting []*Run
	// pace is how many handlers are likely to return during a claim, 0 where nothing is claimed
	// ahead.
	pace int
	// since when every claim has got what it asked for, and no handler was seen that was long;
	// zero: not now.
	since time.Time
	// until when nothing is claimed ahead, after a long handler.
	until time.Time
}

const (
	// shortEnough is how long a handler may take. A claim that takes longer counts as no longer: a
	// store that is slow or busy must not make the worker take all there is.
	shortEnough = 50 * time.Millisecond
	// aWhile is how long nothing but short handlers must have been seen.
	aWhile = 2 * shortEnough
	// After a long handler nothing is claimed ahead for this many times its duration, and at most
	// for so long: that bounds what a few long ones among many can hold up, and one that only
	// stumbled is soon forgotten.
	afterLong       = 10
	afterLongAtMost = time.Minute
	// mostAhead bounds what a worker with few slots claims ahead; one with more has as many as
	// slots.
	mostAhead = 100
	// waitsAtMost is how old a run may get that has not begun.
	waitsAtMost = time.Second
	// looksAt bounds the runs that are looked at for a long one. Those that stay do not move back
	// in the roster, and among more slots than this a long one more or less holds up nothing.
	looksAt = 64
)

// paced is told of a claim that took so long and has ended now, and whether there was as much as it
// asked for.
func (w *Worker) paced(now time.Time, claim time.Duration, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &w.ahead
	returned, took, longest := a.returned.Swap(0), a.took.Swap(0), time.Duration(a.longest.Swap(0))
	if longest > shortEnough {
		if until := now.Add(min(afterLong*longest, afterLongAtMost)); until.After(a.until) {
			a.until = until
		}
	}
	switch {
	case !full || longest > shortEnough || w.hasLong(now):
		a.pace, a.since = 0, time.Time{}
	case a.since.IsZero():
		a.since = now
	case now.Sub(a.since) < aWhile || now.Before(a.until):
	case returned == 0:
		a.pace /= 2
	default:
		each := max(took/returned, 1)
		a.pace = min(int(int64(w.slots)*int64(min(claim, shortEnough))/each), max(w.slots, mostAhead)/2)
	}
}

// hasLong says whether a handler is running that is long already. It wants w.mu held.
func (w *Worker) hasLong(now time.Time) bool {
	for _, r := range w.running.runs[:min(len(w.running.runs), looksAt)] {
		if !r.started.IsZero() && now.Sub(r.started) > shortEnough {
			return true
		}
	}
	return false
}

// batch is for how many tasks a claim is worth while when there are more than can be done.
func (w *Worker) batch() int { return min(max(w.slots/2, w.ahead.pace), callChanges) }

// room is how many tasks to claim: for the free slots, and ahead. A slot is free when its handler
// has returned; when ends cannot be written, no more of them wait than there are slots. It wants
// w.mu held.
func (w *Worker) room() int {
	a := &w.ahead
	atWork, waiting := int(a.atWork.Load()), len(a.waiting)
	unwritten := len(w.running.runs) - atWork - waiting
	room := min(w.slots-atWork, w.slots-unwritten) - waiting
	if a.pace > 0 && time.Duration(a.longest.Load()) <= shortEnough {
		room += a.pace + w.batch()
	}
	return max(0, room)
}

// acquireSlot gives a run a slot, or has it wait for one. After last call no run waits: then it says no.
// It wants w.mu held.
func (w *Worker) acquireSlot(r *Run) (begins, waits bool) {
	a := &w.ahead
	switch {
	case len(a.waiting) == 0 && int(a.atWork.Load()) < w.slots:
		a.atWork.Add(1)
		r.started = r.claimed
		return true, false
	case w.called:
		return false, false
	}
	a.waiting = append(a.waiting, r)
	a.waits.Store(true)
	return false, true
}

// releaseSlot is for a run whose handler has returned.
func (w *Worker) releaseSlot(r *Run) {
	if r.policy.concurrency > 0 {
		w.mu.Lock()
		w.busy[r.task.Kind]--
		w.mu.Unlock()
	}
	a := &w.ahead
	now := time.Now()
	took := int64(now.Sub(r.started))
	a.returned.Add(1)
	a.took.Add(took)
	for most := a.longest.Load(); took > most && !a.longest.CompareAndSwap(most, took); most = a.longest.Load() {
	}
	a.atWork.Add(-1)
	if a.waits.Load() {
		w.fillSlots(now)
	}
	w.nudge()
}

// fillSlots gives free slots to those that wait. It is called by who has freed one and sees that
// somebody waits, and by who has had somebody wait: one of the two sees what the other did.
func (w *Worker) fillSlots(now time.Time) {
	for {
		w.mu.Lock()
		a := &w.ahead
		if len(a.waiting) == 0 || int(a.atWork.Load()) >= w.slots {
			w.mu.Unlock()
			return
		}
		next := a.waiting[0]
		a.waiting[0] = nil
		a.waiting = a.waiting[1:]
		a.waits.Store(len(a.waiting) > 0)
		a.atWork.Add(1)
		next.started = now
		w.mu.Unlock()
		w.begin(next)
	}
}

// begin has the handler called of a run that has a slot.
func (w *Worker) begin(r *Run) {
	t := &r.task
	if w.log.Enabled(w.base, slog.LevelInfo) {
		w.log.Info("task running", "task", t.ID, "kind", t.Kind, "run", t.Run, "runs", t.Runs, "was", before(t), "worker", t.Worker)
	}
	w.tell(Event{Task: *t, Status: StatusRunning, Waited: waited(t)})
	w.crew.run(r)
}

// dismissWaiting gives back what waits, if the first has done so for too long.
func (w *Worker) dismissWaiting(tooLong time.Duration) {
	w.mu.Lock()
	waiting := w.ahead.waiting
	if len(waiting) == 0 || time.Since(waiting[0].claimed) < tooLong {
		w.mu.Unlock()
		return
	}
	w.ahead.waiting, w.ahead.pace, w.ahead.since = nil, 0, time.Time{}
	w.ahead.waits.Store(false)
	w.mu.Unlock()
	for _, r := range waiting {
		w.giveBack(r)
	}
}

// giveBack has a run that never began end as if its task had not been claimed: queued, or
// interrupted as before, which is one interruption more; and in its old place in the line.
func (w *Worker) giveBack(r *Run) {
	if r.policy.concurrency > 0 {
		w.mu.Lock()
		w.busy[r.task.Kind]--
		w.mu.Unlock()
	}
	r.ctx.end()
	c := Change{Fence: r.fence(), Status: before(&r.task), Reason: r.task.Reason, Counters: r.task.Counters,
		Delay: -waited(&r.task) - time.Since(r.claimed)}
	if c.Status == StatusInterrupted {
		c.Counters.Interruptions++
	}
	w.recorder.add(r, &c)
}
