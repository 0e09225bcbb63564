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
	w.running, w.busy = make(map[Fence]*Run), make(map[string]int)
	w.watching = make(map[string]sight)
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
		w.flush(ctx)
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
	b := w.nextBeat(state)
	reply, err := w.store.Heartbeat(ctx, b)
	if errors.Is(err, ErrWorkerGone) && b.Seq > 1 {
		return w.reborn(ctx, b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.renewed = time.Time{}
		return err
	}
	if w.renewed.IsZero() {
		w.renewed = time.Now()
	}
	for _, f := range reply.Lost {
		if r, ok := w.running[f]; ok {
			r.cancel(ErrLeaseLost)
		}
	}
	return nil
}

func (w *Worker) nextBeat(state WorkerState) Beat {
	kinds := w.mux.Kinds()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	w.state = state
	b := Beat{Worker: w.id, Name: w.name, Host: w.host, PID: os.Getpid(), Kinds: kinds, Lease: w.lease, Seq: w.seq, State: state}
	for f := range w.running {
		b.Runs = append(b.Runs, f)
	}
	slices.SortFunc(b.Runs, func(x, y Fence) int { return strings.Compare(x.Task, y.Task) })
	return b
}

// reborn is what a worker does that was taken for dead: its runs are lost, and unless it is
// stopping it goes on as a new incarnation.
func (w *Worker) reborn(ctx context.Context, b Beat) error {
	w.mu.Lock()
	if w.id != b.Worker { // somebody else was quicker
		w.mu.Unlock()
		return nil
	}
	for _, r := range w.running {
		r.cancel(ErrLeaseLost)
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

// flush writes the progress that handlers have reported.
func (w *Worker) flush(ctx context.Context) {
	w.mu.Lock()
	runs := make([]*Run, 0, len(w.running))
	for _, r := range w.running {
		runs = append(runs, r)
	}
	w.mu.Unlock()
	for _, r := range runs {
		if err := r.flushProgress(ctx); errors.Is(err, ErrLeaseLost) {
			r.cancel(ErrLeaseLost)
		}
	}
}

// firstLine is a text for a log line.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
