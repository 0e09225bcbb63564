package task

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// waits are the callers that wait for the ends of tasks, in a client and those that were made from
// it. They share their reads of the store: one goroutine asks for all tasks that are due, and lives
// as long as a caller waits. The last caller that leaves waits for its end.
type waits struct {
	store Store

	mu      sync.Mutex
	waiting map[*wait]bool
	come    chan struct{} // has an element when a waiter has come
	stop    context.CancelFunc
	ended   chan struct{} // closed when the goroutine has ended
}

// wait is one waiting caller.
type wait struct {
	id    string
	pause time.Duration // before the next look
	due   time.Time
	last  Task // as it was seen last
	err   error
	over  chan struct{} // closed when last or err is the answer
}

const (
	firstPause, lastPause = 10 * time.Millisecond, time.Second
	// looks: the pause between two reads is this many times as long as a read takes.
	looks = 5
	// waitStep bounds the tasks of one query.
	waitStep = 1000
)

// wait waits until a task has ended.
func (w *waits) wait(ctx context.Context, id string) (Task, error) {
	one := &wait{id: id, pause: firstPause, due: time.Now(), over: make(chan struct{})}
	w.enter(one)
	defer w.leave(one)
	select {
	case <-one.over:
		return one.last, one.err
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if closed(one.over) {
		return one.last, one.err
	}
	return one.last, context.Cause(ctx)
}

func (w *waits) enter(one *wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		ctx, stop := context.WithCancel(context.Background())
		w.waiting, w.come, w.stop, w.ended = make(map[*wait]bool), make(chan struct{}, 1), stop, make(chan struct{})
		go w.look(ctx, w.come, w.ended)
	}
	w.waiting[one] = true
	select {
	case w.come <- struct{}{}:
	default:
	}
}

func (w *waits) leave(one *wait) {
	w.mu.Lock()
	delete(w.waiting, one)
	if len(w.waiting) > 0 {
		w.mu.Unlock()
		return
	}
	stop, ended := w.stop, w.ended
	w.mu.Unlock()
	stop()
	<-ended
}

// look reads from the store until ctx ends.
func (w *waits) look(ctx context.Context, come <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var rested time.Time // no look before
	for ctx.Err() == nil {
		now := time.Now()
		due, next := w.due(now)
		if len(due) > 0 && !now.Before(rested) {
			w.ask(ctx, due)
			rested = time.Now().Add(max(firstPause/2, looks*time.Since(now)))
			continue
		}
		if rested.After(next) {
			next = rested
		}
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-come:
		case <-ctx.Done():
		}
	}
}

// due returns the waits that want a read, and when the next of all of them wants one. It includes
// those that will want one before long, so that all that wait for long share theirs.
func (w *waits) due(now time.Time) (due []*wait, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next = now.Add(lastPause)
	wanted := false
	for one := range w.waiting {
		if closed(one.over) {
			continue
		}
		if one.due.Before(next) {
			next = one.due
		}
		wanted = wanted || !one.due.After(now)
		if !one.due.After(now.Add(one.pause / 2)) {
			due = append(due, one)
		}
	}
	if !wanted {
		return nil, next
	}
	return due, next
}

// ask reads tasks, and answers the callers whose task has ended.
func (w *waits) ask(ctx context.Context, due []*wait) {
	for part := range slices.Chunk(due, waitStep) {
		ids := make([]string, 0, len(part))
		for _, one := range part {
			ids = append(ids, one.id)
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		found, err := w.store.Find(ctx, Query{IDs: ids, Limit: len(ids)})
		if ctx.Err() != nil {
			return // no waiter is left
		}
		byID := make(map[string]*Task, len(found))
		for i := range found {
			byID[found[i].ID] = &found[i]
		}
		w.mu.Lock()
		now := time.Now()
		for _, one := range part {
			one.answer(byID[one.id], err, now)
		}
		w.mu.Unlock()
	}
}

// answer handles the result of a read. The caller holds mu.
func (one *wait) answer(found *Task, err error, now time.Time) {
	switch {
	case err != nil:
		one.err = fmt.Errorf("task: wait for %.80q: %w", one.id, err)
	case found == nil:
		one.last, one.err = Task{}, fmt.Errorf("%w: %.80q", ErrNotFound, one.id)
	default:
		one.last = *found
	}
	if one.err != nil || one.last.Status.Ended() {
		close(one.over)
		return
	}
	one.due = now.Add(one.pause)
	one.pause = min(2*one.pause, lastPause)
}
