package task

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// recorder writes the ends of runs, many in one call of the store when many come at once. It never
// waits for more to come: an end is written at once, unless enough calls are under way; then it
// joins those that wait for the next one. What the store cannot take is written again, until the
// context has ended. The queue is bounded by the worker's slots, which stay taken.
type recorder struct {
	store Store
	log   *slog.Logger
	ctx   context.Context
	// calls has the calls under way, and is waited for by their owner.
	calls *sync.WaitGroup
	// written is told what came of an end.
	written func(pending, error)

	mu     sync.Mutex
	queue  []pending
	active int
}

// pending is an end that waits to be written.
type pending struct {
	run    *Run
	change Change
}

const (
	// recordCalls bounds the calls under way: one is on its way while another is prepared.
	recordCalls = 2
	// recordBatch bounds the changes of one call.
	recordBatch = 1000
)

// add takes an end to be written.
func (r *recorder) add(p pending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, p)
	if r.active < recordCalls {
		r.active++
		// Under the lock: the call that is under way cannot write this end yet and so let its run go,
		// which is what keeps the owner waiting until the new call is counted.
		r.calls.Go(r.flush)
	}
}

// flush makes calls until nothing is left.
func (r *recorder) flush() {
	var failed []pending
	wait := 50 * time.Millisecond
	for {
		batch, ok := r.next(failed)
		if !ok {
			return
		}
		changes := make([]Change, len(batch))
		for i, p := range batch {
			changes[i] = p.change
		}
		failed = nil
		var last error
		for i, err := range r.store.Apply(r.ctx, changes) {
			if again(err) && r.ctx.Err() == nil {
				failed, last = append(failed, batch[i]), err
				continue
			}
			r.written(batch[i], err)
		}
		if len(failed) == 0 {
			wait = 50 * time.Millisecond
			continue
		}
		r.log.Warn("outcomes not recorded yet; trying again", "runs", len(failed), "error", last)
		pause(r.ctx, wait)
		wait = min(2*wait, 5*time.Second)
	}
}

// next returns the changes of the next call: those that failed, and what has come since. When there
// is none the caller is no longer active.
func (r *recorder) next(failed []pending) ([]pending, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.queue), recordBatch)
	if n == 0 && len(failed) == 0 {
		r.queue = nil
		r.active--
		return nil, false
	}
	n = min(n, max(0, recordBatch-len(failed)))
	batch := append(failed, r.queue[:n]...)
	r.queue = r.queue[n:]
	return batch, true
}

// again says whether an outcome that was not written may be written later.
func again(err error) bool {
	return err != nil && !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrAlreadyFinished) &&
		!errors.Is(err, ErrNotFound) && !errors.Is(err, ErrClosed)
}
