package task

import (
	"context"
	"errors"
	"log/slog"
	"sync"
)

// saver writes what runs save: checkpoints, progress, logs. The saves of many runs share a call of
// the store. A save is written at once when no call is under way, and otherwise together with all
// that come before that call is done; no timer waits for others. Each save gets its own answer, and
// its run decides whether to try again.
type saver struct {
	store Store
	log   *slog.Logger    // the worker's, for the runs
	ctx   context.Context // of the calls
	calls sync.WaitGroup

	mu     sync.Mutex
	queue  []*save
	turns  turns
	closed bool // no call begins any more
	// cleared is called for a run whose task is no longer a suspect.
	cleared func(*Run)
}

// save is a change within a run on its way to the store.
type save struct {
	run    *Run
	change Change
	done   chan struct{} // closed when it has been answered
	err    error         // the answer

	withdrawn bool // not to be sent; the saver's lock guards it, and sent
	sent      bool
}

// errOver is the answer to a save that comes too late.
var errOver = errors.New("the run has ended")

// add takes a change to be written.
func (s *saver) add(r *Run, c *Change) *save {
	x := &save{run: r, change: *c, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		x.answer(errOver)
		return x
	}
	s.queue = append(s.queue, x)
	s.begin()
	return x
}

// begin starts a call, if it is time for one; s.mu is held.
func (s *saver) begin() {
	if s.turns.begins(len(s.queue) > 0, len(s.queue) > callChanges) {
		s.calls.Go(s.flush)
	}
}

// flush makes calls until nothing is left.
func (s *saver) flush() {
	for batch := s.next(); batch != nil; batch = s.next() {
		changes := make([]Change, len(batch))
		for i, x := range batch {
			changes[i] = x.change
		}
		done := s.turns.watch(&s.mu, s.begin)
		errs := s.store.Apply(s.ctx, changes)
		done()
		for i, x := range batch {
			x.answer(errs[i])
		}
	}
}

// next takes the saves of the next call. When there are none the caller no longer counts as active.
func (s *saver) next() (batch []*save) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes := 0
	for len(s.queue) > 0 && len(batch) < callChanges {
		x := s.queue[0]
		if !x.withdrawn {
			if bytes += x.change.weight(); bytes > callBytes && len(batch) > 0 {
				break
			}
			x.sent = true
			batch = append(batch, x)
		}
		s.queue[0], s.queue = nil, s.queue[1:]
	}
	if batch == nil {
		s.turns.active--
	}
	return batch
}

// withdraw answers a save with err, unless it has been sent, and reports whether it did.
func (s *saver) withdraw(x *save, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.sent || x.withdrawn || closed(x.done) {
		return false
	}
	x.withdrawn = true
	x.answer(err)
	return true
}

// close waits for the calls under way. Later saves are refused.
func (s *saver) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
}

// answer is called once.
func (x *save) answer(err error) {
	if errors.Is(err, ErrLeaseLost) {
		x.run.ctx.cancel(ErrLeaseLost)
	}
	x.err = err
	close(x.done)
}

// trySave sends a checkpoint or a step, with the progress and the log that are not written yet.
// r.mu is held. If ctx ends first, its cause is the error. A change that was not under way is then
// not sent any more. One that was may still be made, which does no harm: it is a state of the run
// that was good when it was saved, a later save of the run is sent after it, and once the run has
// ended the store refuses it.
func (r *Run) trySave(ctx context.Context, checkpoint []byte, step *StepRecord) error {
	_ = r.awaitAnswer(ctx) // that of another save, whose caller has it
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c := Change{Fence: r.fence(), Status: StatusRunning, Checkpoint: checkpoint, Step: step, Progress: r.progress, Log: r.log.take(),
		Counters: progressed(r.task.Counters, r.task.Checkpoint, checkpoint)}
	if step != nil { // which is always new
		c.Counters = afresh(c.Counters)
	}
	r.progress = nil
	r.sending = r.saver.add(r, &c)
	return r.awaitAnswer(ctx)
}

// saveUnsaved sends progress and log lines that no checkpoint has taken along. It does not wait,
// and skips a run that is in the middle of a Save, or has ended: that write takes both along.
func (r *Run) saveUnsaved() {
	if !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	r.settle()
	if r.sending != nil || r.inTx || r.decided.Load() || r.progress == nil && r.log.empty() {
		return
	}
	c := Change{Fence: r.fence(), Status: StatusRunning, Progress: r.progress, Log: r.log.take(), Counters: r.task.Counters}
	r.progress = nil
	r.sending = r.saver.add(r, &c)
}

// awaitAnswer waits for the answer to what was sent last, and returns it, or the cause of ctx if
// that ends first. r.mu is held.
func (r *Run) awaitAnswer(ctx context.Context) error {
	x := r.sending
	if x == nil {
		return context.Cause(ctx)
	}
	select {
	case <-x.done:
	case <-ctx.Done():
		if !r.saver.withdraw(x, context.Cause(ctx)) && !closed(x.done) {
			return context.Cause(ctx)
		}
	}
	r.settle()
	return x.err
}

// recall withdraws what was sent last, if it is not under way, so that the end of the run includes
// it. r.mu is held.
func (r *Run) recall() {
	if r.sending != nil {
		r.saver.withdraw(r.sending, errOver)
		r.settle()
	}
}

// settle notes the answer to what was sent last, if there is one. What could not be written is kept
// for the next time. r.mu is held.
func (r *Run) settle() {
	x := r.sending
	if x == nil || !closed(x.done) {
		return
	}
	r.sending = nil
	if x.err != nil {
		if r.progress == nil {
			r.progress = x.change.Progress
		}
		r.log.giveBack(x.change.Log)
		return
	}
	suspect := r.task.Suspect()
	r.task.Counters = x.change.Counters
	if suspect && !r.task.Suspect() {
		r.saver.cleared(r)
	}
	if x.change.Checkpoint != nil {
		r.task.Checkpoint, r.inDoubt = x.change.Checkpoint, false
	}
}
