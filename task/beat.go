package task

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"
)

// register begins a new incarnation.
func (w *Worker) register(ctx context.Context) error {
	w.mu.Lock()
	w.id, w.seq, w.state = newID(), 0, WorkerRunning
	w.reached, w.ticked = time.Now(), time.Now()
	w.running, w.busy = runSet{}, make(map[string]int)
	w.watching = make(map[string]observation)
	w.renewed = time.Now()
	w.mu.Unlock()
	return w.beat(ctx, WorkerRunning)
}

// beats renews the lease, and writes progress, until ctx ends.
func (w *Worker) beats(ctx context.Context) {
	every := min(w.lease/5, time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	next := time.Now().Add(w.lease / 5)
	var failed bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.saveUnsaved()
		w.cutOff()
		w.dismissWaiting(waitsAtMost)
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(w.lease / 5)
		err := w.beat(ctx, w.currentState())
		if err != nil && !failed && ctx.Err() == nil {
			w.log.Error("cannot renew the lease; trying again", "worker", w.incarnation(), "error", err)
		}
		failed = err != nil
	}
}

// beat sends one sign of life and acts on the answer.
func (w *Worker) beat(ctx context.Context, state WorkerState) error {
	return w.send(ctx, w.nextBeat(state))
}

// send sends a beat and acts on the answer. Unlisted runs are for the claimer.
func (w *Worker) send(ctx context.Context, b Beat) error {
	reply, err := w.store.Heartbeat(ctx, b)
	if errors.Is(err, ErrWorkerGone) && b.Seq > 1 {
		return w.reregister(ctx, b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.renewed = time.Time{}
		return err
	}
	w.reached = time.Now()
	if w.renewed.IsZero() {
		w.renewed = w.reached
	}
	w.heed(reply)
	w.unlisted = append(w.unlisted, reply.Missing...)
	return nil
}

// heed passes on to the runs what a beat was answered with; w.mu is held.
func (w *Worker) heed(reply BeatReply) {
	for _, f := range reply.Lost {
		if r := w.running.find(f); r != nil {
			r.ctx.cancel(ErrLeaseLost)
		}
	}
	for _, a := range reply.Commands {
		r := w.running.find(a.Fence)
		switch {
		case r == nil:
		case a.Verb == VerbCancel:
			r.ctx.cancel(ErrCancelled)
		case a.Verb == VerbInterrupt:
			r.ctx.cancel(ErrInterruptRequested)
		}
	}
}

// cutOff ends the runs of kinds that want it, before a neighbour may take them over: when no beat
// has been answered for four fifths of the lease. A gap that the wall clock has seen and the
// monotonic one has not is a process, or a machine, that stood still.
func (w *Worker) cutOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := w.lease - w.lease/5
	now := time.Now()
	awake, wall := now.Sub(w.reached), now.Round(0).Sub(w.reached.Round(0))
	if max(awake, wall) < limit {
		return
	}
	cause := ErrDisconnected
	if gap := now.Sub(w.ticked); w.frozen || gap > limit || wall-awake > limit {
		w.frozen, cause = true, errFrozen
	}
	for _, r := range w.running.runs {
		if r.policy.cutOff {
			r.ctx.cancel(cause)
		}
	}
}

func (w *Worker) nextBeat(state WorkerState) Beat {
	kinds := w.mux.Kinds()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	w.state = state
	now := time.Now()
	if w.ticked = now; now.Sub(w.reached) < w.lease {
		w.frozen = false
	}
	b := Beat{Worker: w.id, Name: w.name, Host: w.host, PID: os.Getpid(), Kinds: kinds, Lease: w.lease, Seq: w.seq, State: state}
	b.Runs = w.running.some(beatRuns)
	slices.SortFunc(b.Runs, func(x, y Fence) int { return strings.Compare(x.Task, y.Task) })
	return b
}

// beatRuns bounds the runs that one beat asks about, so that a beat costs the same however many
// there are. A loss that it does not name is noticed by the next beats, or by the run's next write.
const beatRuns = 32

// recover finds the runs of a claim whose answer was lost, and starts them. It is called by the
// goroutine that claims, so that no claim is under way.
func (w *Worker) recover(last context.Context) error {
	b := w.nextBeat(w.currentState())
	w.mu.Lock()
	b.ListsAllRuns, b.Runs, w.unlisted = true, w.running.some(len(w.running.runs)), nil
	w.mu.Unlock()
	if err := w.send(last, b); err != nil {
		return err
	}
	w.mu.Lock()
	found := slices.DeleteFunc(w.unlisted, func(t Task) bool { return w.running.find(fenceOf(&t)) != nil })
	w.unlisted = nil
	w.mu.Unlock()
	for i := range found {
		w.start(&found[i], time.Now())
	}
	return nil
}

// reregister is what a worker does that was taken for dead: its runs are lost, and unless it is
// stopping it goes on as a new incarnation.
func (w *Worker) reregister(ctx context.Context, b Beat) error {
	w.mu.Lock()
	if w.id != b.Worker { // somebody else was quicker
		w.mu.Unlock()
		return nil
	}
	for _, r := range w.running.runs {
		r.ctx.cancel(ErrLeaseLost)
	}
	if b.State != WorkerRunning {
		w.mu.Unlock()
		return nil
	}
	w.id, w.seq, w.renewed = newID(), 0, time.Now()
	w.mu.Unlock()
	w.log.Warn("this worker was taken for dead and its tasks were given away; it goes on under a new name", "worker", b.Worker)
	return w.beat(ctx, WorkerRunning)
}

func (w *Worker) currentState() WorkerState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// saveUnsaved has the progress and the logs written that handlers have reported.
func (w *Worker) saveUnsaved() {
	w.mu.Lock()
	runs := slices.Clone(w.running.runs)
	w.mu.Unlock()
	for _, r := range runs {
		r.saveUnsaved()
	}
}

// firstLine is a text for a log line.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
