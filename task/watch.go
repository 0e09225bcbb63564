package task

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// reclaimBatch bounds how many runs of a dead worker are reclaimed at once.
const reclaimBatch = 500

// watcher monitors the other workers, and takes over the tasks of those that are dead: with
// evidence of death at once, otherwise after a worker's beat stood still for its whole lease while
// our own was renewed. One goroutine uses it; any goroutine may call notice.
type watcher struct {
	store    Store
	poll     time.Duration
	log      *slog.Logger
	beats    *heartbeat
	observer *observer
	slots    *slots // some are kept for what neighbours hand over
	nudge    func() // tells the claimer that there is more to claim, or more room

	gone chan struct{} // a neighbour's process may have ended
	seen map[string]observation
}

// observation is what is remembered about a neighbour: its beat, and since when, on our own
// monotonic clock, it has not moved.
type observation struct {
	seq   uint64
	since time.Time
	first time.Time // when it was seen at first
	alive bool      // its store has had evidence of its life
}

// notice has the neighbours checked soon: a process may have ended.
func (w *watcher) notice() {
	select {
	case w.gone <- struct{}{}:
	default:
	}
}

// run watches until ctx ends. It checks at once when the store reports that a process may have
// ended, and otherwise every six polls. It checks sooner when the evidence that a neighbour lives
// is gone, or not there yet: a process that follows a killed one finds it dead already, and must
// not have to live for long to take over from it.
func (w *watcher) run(ctx context.Context) {
	var failed string
	for {
		doubt, err := w.sweep(ctx)
		if err != nil && err.Error() != failed && ctx.Err() == nil {
			w.log.Error("cannot look after the other workers; trying again", "error", err)
		}
		failed = ""
		if err != nil {
			failed = err.Error()
		}
		next := sweepPolls * w.poll
		if doubt {
			next = w.poll
		}
		tick := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-w.gone:
		case <-tick.C:
		}
		tick.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// begin has slots kept for tasks that neighbours hand over, if there are any neighbours.
func (w *watcher) begin(ctx context.Context) {
	w.slots.begin(time.Now())
	if workers, err := w.store.Workers(ctx); err == nil { // otherwise they are met by the first sweep
		w.meet(workers)
	}
}

// meet stores which other workers there are.
func (w *watcher) meet(workers []WorkerInfo) {
	if w.slots.meet(neighboursOf(w.beats.incarnation(), workers)) {
		w.nudge()
	}
}

// sweepPolls is how many polls there are between two checks of the neighbours if nothing was
// reported: 1.5 s by default.
const sweepPolls = 6

// sweep checks every other worker once, and reports whether one of them is in doubt: either it was
// alive before and the store no longer knows, or it was seen for the first time a short time ago
// and the store does not know yet.
func (w *watcher) sweep(ctx context.Context) (doubt bool, err error) {
	workers, err := w.store.Workers(ctx)
	if err != nil {
		return false, err
	}
	w.meet(workers)
	seen := make(map[string]observation, len(workers))
	var errs []error
	for _, other := range workers {
		if other.Worker == w.beats.incarnation() {
			continue
		}
		s, expired := w.observe(other)
		seen[other.Worker] = s
		if other.Liveness == LivenessDead || other.Dead || expired {
			errs = append(errs, w.reclaim(ctx, other))
		}
		doubt = doubt || other.Liveness == LivenessUnknown && (s.alive || time.Since(s.first) < sweepPolls*w.poll)
	}
	w.seen = seen
	return doubt, errors.Join(errs...)
}

// observe returns what is to be remembered about a neighbour, and reports whether its beat has
// stood still for its lease.
func (w *watcher) observe(other WorkerInfo) (s observation, expired bool) {
	now := time.Now()
	s, known := w.seen[other.Worker]
	if !known || s.seq != other.Seq {
		s.seq, s.since = other.Seq, now
	}
	if !known {
		s.first = now
	}
	s.alive = s.alive || other.Liveness == LivenessAlive
	renewed := w.beats.renewedSince()
	if renewed.IsZero() {
		s.since = now // our own beats fail: the fault may be ours
	} else if renewed.After(s.since) {
		s.since = renewed
	}
	return s, now.Sub(s.since) >= max(other.Lease, time.Second)
}

// reclaim takes over the tasks of a dead worker.
func (w *watcher) reclaim(ctx context.Context, dead WorkerInfo) error {
	req := ReclaimRequest{Worker: dead.Worker, Evidence: dead.Liveness == LivenessDead, Seq: dead.Seq, Max: reclaimBatch}
	for ctx.Err() == nil {
		left, err := w.store.Reclaim(ctx, req)
		if errors.Is(err, ErrWorkerAlive) {
			return nil // a beat came, or a neighbour is reclaiming it
		}
		if err != nil {
			return err
		}
		changes := make([]Change, len(left.Tasks))
		for i := range left.Tasks {
			changes[i].reclaim(&left.Tasks[i], &left, dead.Worker)
		}
		var failed error
		for i, err := range w.store.Apply(ctx, changes) {
			switch {
			case err == nil:
				c := &changes[i]
				w.logReclaimed(left.Tasks[i], *c, dead)
				w.observer.tell(Event{Task: left.Tasks[i], Status: c.Status, Reason: c.Reason, Err: c.Error, Waited: waited(&left.Tasks[i]), Reclaimed: true})
			case !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrAlreadyFinished):
				failed = err
			}
		}
		if len(changes) > 0 {
			w.nudge()
		}
		if failed != nil {
			return failed // the rest is reclaimed by the next check
		}
		if left.Done {
			return nil
		}
	}
	return nil
}

func (w *watcher) logReclaimed(t Task, c Change, dead WorkerInfo) {
	args := []any{"task", t.ID, "kind", t.Kind, "run", t.Run, "reason", c.Reason, "crashed", c.Crashed,
		"worker", dead.Worker, "host", dead.Host, "pid", dead.PID, "error", c.Error}
	if c.Status == StatusFailed {
		w.log.Error("task failed", args...)
		return
	}
	w.log.Warn("task "+string(c.Status), args...)
}
