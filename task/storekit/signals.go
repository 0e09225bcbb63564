package storekit

import (
	"context"
	"sync"

	"github.com/lastcall-go/lastcall/task"
)

// Signals are the numbers of [task.Store.Wait] and those who wait for them to change (rule 20). The
// zero Signals are ready to use. They must not be copied.
type Signals struct {
	mu      sync.Mutex
	counted task.Seen     // what was counted; Wait returns one more of each
	changed chan struct{} // closed at the next change; nil when nobody waits
	closed  bool
}

// Wake counts changes, and ends the waiting calls. A call that counts nothing does nothing.
func (s *Signals) Wake(ready, asked, gone uint64) {
	if ready == 0 && asked == 0 && gone == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.Ready += ready
	s.counted.Asked += asked
	s.counted.Gone += gone
	s.stir()
}

// Wait returns the numbers once one of them differs from seen, ErrClosed after Close, and the cause
// of ctx when that has ended.
func (s *Signals) Wait(ctx context.Context, seen task.Seen) (task.Seen, error) {
	for {
		now, changed, err := s.current()
		switch {
		case err != nil:
			return task.Seen{}, err
		case ctx.Err() != nil:
			return task.Seen{}, context.Cause(ctx)
		case now != seen:
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Close ends the waiting calls, and all later ones, with ErrClosed. Closing twice is harmless.
func (s *Signals) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.stir()
}

// current returns the numbers and what is closed when they change.
func (s *Signals) current() (task.Seen, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.Seen{}, nil, task.ErrClosed
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	now := task.Seen{Ready: s.counted.Ready + 1, Asked: s.counted.Asked + 1, Gone: s.counted.Gone + 1}
	return now, s.changed, nil
}

// stir ends the waiting calls; s.mu is held.
func (s *Signals) stir() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
