package task

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// recorder writes the ends of runs, many in one call of the store when many come at once. An end is
// written at once when no call is under way. Otherwise it waits for that call, and is then written
// together with all that have come meanwhile. A call that takes long does not hold up the others.
// What could not be written is tried again, until the context has ended. The queue is bounded: no
// more ends wait than the worker has slots, since the worker claims nothing then.
type recorder struct {
	store Store
	log   *slog.Logger
	ctx   context.Context
	// calls counts the goroutines that make calls; their owner waits for it.
	calls *sync.WaitGroup
	// written is called with the result of writing an end, and forget for runs that are not written
	// again.
	written func(*Run, *Change, error)
	forget  func(...*Run)

	mu    sync.Mutex
	queue []*ends // the last one takes what comes
	spare []*ends // for the next ones
	turns turns
}

// ends are ends of runs that are written together.
type ends struct {
	runs    []*Run
	changes []Change
	bytes   int // that the changes have the store keep
}

// full reports whether there is no room for one more change.
func (e *ends) full(c *Change) bool {
	return len(e.runs) >= callChanges || len(e.runs) > 0 && e.bytes+c.weight() > callBytes
}

// add takes an end to be written, and copies it.
func (r *recorder) add(run *Run, c *Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.queue)
	if n == 0 || r.queue[n-1].full(c) {
		e := new(ends)
		if last := len(r.spare) - 1; last >= 0 {
			e, r.spare = r.spare[last], r.spare[:last]
		} else if n > 0 { // this one will be full, too
			e.runs, e.changes = make([]*Run, 0, callChanges), make([]Change, 0, callChanges)
		}
		r.queue = append(r.queue, e)
		n++
	}
	e := r.queue[n-1]
	e.runs, e.changes, e.bytes = append(e.runs, run), append(e.changes, *c), e.bytes+c.weight()
	r.begin()
}

// begin starts a call, if it is time for one. r.mu is held: so a call that is under way cannot take
// what waits and let its runs go before the new call is counted, and the owner waits for both.
func (r *recorder) begin() {
	if r.turns.begins(len(r.queue) > 0, len(r.queue) > 1) {
		r.calls.Go(r.flush)
	}
}

// flush makes calls until nothing is left.
func (r *recorder) flush() {
	wait := 50 * time.Millisecond
	for {
		batch := r.next()
		if batch == nil {
			return
		}
		done := r.turns.watch(&r.mu, r.begin)
		errs := r.store.Apply(r.ctx, batch.changes)
		done()
		failed, err := r.report(batch, errs)
		if failed == nil {
			wait = 50 * time.Millisecond
			if err == nil {
				r.reuse(batch)
			}
			continue
		}
		r.log.Warn("outcomes not recorded yet; trying again", "runs", len(failed.runs), "error", err)
		r.later(failed, wait)
		wait = min(2*wait, 5*time.Second)
	}
}

// next takes the ends of the next call. When there are none the caller no longer counts as active.
func (r *recorder) next() *ends {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.turns.active--
		return nil
	}
	batch := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return batch
}

// report passes on the results of a call. It returns what must be tried again, and the last error
// of any.
func (r *recorder) report(batch *ends, errs []error) (failed *ends, last error) {
	done := batch.runs[:0] // those before i have been handled
	for i, err := range errs {
		if err != nil {
			last = err
		}
		if again(err) && r.ctx.Err() == nil {
			if failed == nil {
				failed = new(ends)
			}
			failed.runs, failed.changes = append(failed.runs, batch.runs[i]), append(failed.changes, batch.changes[i])
			failed.bytes += batch.changes[i].weight()
			continue
		}
		r.written(batch.runs[i], &batch.changes[i], err)
		done = append(done, batch.runs[i])
	}
	r.forget(done...)
	return failed, last
}

// later puts ends after the others after a while, in which another call may write those: an end
// that can never be written must not hold them back.
func (r *recorder) later(failed *ends, wait time.Duration) {
	r.mu.Lock()
	r.turns.slow++
	r.begin()
	r.mu.Unlock()
	pause(r.ctx, wait)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns.slow--
	r.queue = append(r.queue, failed)
}

// reuse keeps the memory of ends for the next ones. A store that gave up waiting may still read
// them, so only those that have been written are reused.
func (r *recorder) reuse(batch *ends) {
	clear(batch.runs)
	clear(batch.changes)
	batch.runs, batch.changes, batch.bytes = batch.runs[:0], batch.changes[:0], 0
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) <= maxTurns {
		r.spare = append(r.spare, batch)
	}
}

// again reports whether an outcome that was not written may be written later.
func again(err error) bool {
	return err != nil && !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrAlreadyFinished) &&
		!errors.Is(err, ErrNotFound) && !errors.Is(err, ErrClosed)
}
