package task

import (
	"log/slog"
	"time"
)

// A worker that has tasks of a few milliseconds would spend more time on waiting for its claims than on
// handlers. So it claims ahead: beyond its free slots as many tasks as handlers are likely to return while
// the claim is under way, and a batch more, so that a claim has not to be made for each. Where handlers
// take longer, or where there are fewer tasks than it has slots for, nothing is claimed ahead.
//
// What is claimed and has not begun is running for everybody else. So it does not wait for long: when
// handlers keep their slots against expectation, and at last call, those that wait are given back.
type ahead struct {
	// waiting are the runs that have no slot yet, the first first.
	waiting []*Run
	// handlers that have returned since the last claim, and for how long they ran, together.
	returned int
	took     time.Duration
	// pace is how many are likely to return during a claim.
	pace int
}

const (
	// shortEnough is how long handlers may take, on average, for which tasks are claimed ahead. A claim that takes longer
	// counts as no longer: a store that is slow or busy must not make the worker take all there is.
	shortEnough = 50 * time.Millisecond
	// mostAhead bounds what a worker with few slots claims ahead; one with more has as many as slots.
	mostAhead = 100
	// waitsAtMost is how old a run may get that has not begun.
	waitsAtMost = time.Second
)

// paced is told how long a claim took, and whether there was as much as it asked for.
func (w *Worker) paced(claim time.Duration, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &w.ahead
	switch {
	case !full:
		a.pace = 0
	case a.returned == 0:
		a.pace /= 2
	case a.took > time.Duration(a.returned)*shortEnough:
		a.pace = 0
	default:
		each := max(a.took/time.Duration(a.returned), 1)
		a.pace = min(int(time.Duration(w.slots)*min(claim, shortEnough)/each), max(w.slots, mostAhead)/2)
	}
	a.returned, a.took = 0, 0
}

// batch is for how many tasks a claim is worth while when there are more than can be done.
func (w *Worker) batch() int { return min(max(w.slots/2, w.ahead.pace), recordBatch) }

// room is how many tasks to claim: for the free slots, and ahead. A slot is free when its handler has
// returned; when ends cannot be written, no more of them wait than there are slots. It wants w.mu held.
func (w *Worker) room() int {
	unwritten := len(w.running.runs) - w.atWork - len(w.ahead.waiting)
	room := min(w.slots-w.atWork, w.slots-unwritten) - len(w.ahead.waiting)
	if w.ahead.pace > 0 {
		room += w.ahead.pace + w.batch()
	}
	return max(0, room)
}

// seat gives a run a slot, or has it wait for one. After last call no run waits: then it says no. It wants
// w.mu held.
func (w *Worker) seat(r *Run) (begins, waits bool) {
	switch {
	case w.atWork < w.slots:
		w.atWork++
		return true, false
	case w.called:
		return false, false
	}
	w.ahead.waiting = append(w.ahead.waiting, r)
	return false, true
}

// vacate gives the slot of a run whose handler has returned to the next one, if one waits.
func (w *Worker) vacate(r *Run) {
	var next *Run
	now := time.Now()
	w.mu.Lock()
	w.busy[r.task.Kind]--
	w.ahead.returned++
	w.ahead.took += now.Sub(r.started)
	if waiting := w.ahead.waiting; len(waiting) > 0 {
		next, waiting[0] = waiting[0], nil
		w.ahead.waiting = waiting[1:]
	} else {
		w.atWork--
	}
	w.mu.Unlock()
	if next != nil {
		w.begin(next, now)
	}
	w.nudge()
}

// begin has a run's handler called.
func (w *Worker) begin(r *Run, now time.Time) {
	t := &r.task
	r.started = now
	if w.log.Enabled(w.base, slog.LevelInfo) {
		w.log.Info("task running", "task", t.ID, "kind", t.Kind, "run", t.Run, "runs", t.Runs, "was", before(t), "worker", t.Worker)
	}
	if w.observer != nil {
		w.observer(Event{Task: *t, Status: Running, Waited: waited(t)})
	}
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
	w.ahead.waiting, w.ahead.pace = nil, 0
	w.mu.Unlock()
	for _, r := range waiting {
		w.giveBack(r)
	}
}

// giveBack has a run that never began end as if its task had not been claimed: queued, or interrupted as before, which is
// one interruption more; and in its old place in the line.
func (w *Worker) giveBack(r *Run) {
	w.mu.Lock()
	w.busy[r.task.Kind]--
	w.mu.Unlock()
	r.ctx.end()
	c := Change{Fence: r.fence(), Status: before(&r.task), Reason: r.task.Reason, Counters: r.task.Counters,
		Delay: -waited(&r.task) - time.Since(r.claimed)}
	if c.Status == Interrupted {
		c.Counters.Interruptions++
	}
	w.recorder.add(r, c)
}
