package task

import (
	"context"
	"sync"
)

// recorder writes the ends of runs, many in one call of the store when many come at once. It never
// waits for more to come: an end is written at once, unless enough calls are under way; then it
// joins those that wait for the next one.
type recorder struct {
	store Store
	// calls has the calls under way, and is waited for by their owner.
	calls *sync.WaitGroup

	mu     sync.Mutex
	queue  []pending
	active int
}

// pending is an end that waits to be written.
type pending struct {
	change Change
	done   chan error // takes one error without waiting
}

const (
	// recordCalls bounds the calls under way: one is on its way while another is prepared.
	recordCalls = 2
	// recordBatch bounds the changes of one call.
	recordBatch = 500
)

// apply writes one change and returns its error. ctx bounds the calls of those who come with it,
// too, so it must be the same for all: the worker's own.
func (r *recorder) apply(ctx context.Context, c Change) error {
	p := pending{change: c, done: make(chan error, 1)}
	r.mu.Lock()
	r.queue = append(r.queue, p)
	if r.active < recordCalls {
		r.active++
		r.calls.Go(func() { r.flush(ctx) })
	}
	r.mu.Unlock()
	return <-p.done
}

// flush makes calls until nothing is left.
func (r *recorder) flush(ctx context.Context) {
	for {
		r.mu.Lock()
		n := min(len(r.queue), recordBatch)
		batch := r.queue[:n:n]
		r.queue = r.queue[n:]
		if n == 0 {
			r.queue = nil
			r.active--
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		changes := make([]Change, n)
		for i, p := range batch {
			changes[i] = p.change
		}
		for i, err := range r.store.Apply(ctx, changes) {
			batch[i].done <- err
		}
	}
}
