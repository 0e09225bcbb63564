package storekit

import (
	"context"
	"sync"

	"github.com/lastcall-go/lastcall/task"
)

// Signals are the numbers of [task.Store.Wait] and the calls that wait for a change of them (rule
// 20). The zero Signals are ready to use. They must not be copied.
type Signals struct {
	mu      sync.Mutex
	counted task.Generations // what was counted; Wait returns one more of each
	changed chan struct{}    // closed at the next change; nil when nobody waits
	closed  bool
}

// Wake counts changes, and ends the waiting calls. With three zeros it does nothing.
func (s *Signals) Wake(tasks, commands, workers uint64) {
	if tasks == 0 && commands == 0 && workers == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.Tasks += tasks
	s.counted.Commands += commands
	s.counted.Workers += workers
	s.stir()
}

// Wait returns the numbers once one of them differs from seen, ErrClosed after Close, and the cause
// of ctx when that has ended.
func (s *Signals) Wait(ctx context.Context, seen task.Generations) (task.Generations, error) {
	for {
		now, changed, err := s.current()
		switch {
		case err != nil:
			return task.Generations{}, err
		case ctx.Err() != nil:
			return task.Generations{}, context.Cause(ctx)
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

// current returns the numbers, and a channel that is closed when they change.
func (s *Signals) current() (task.Generations, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.Generations{}, nil, task.ErrClosed
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	now := task.Generations{Tasks: s.counted.Tasks + 1, Commands: s.counted.Commands + 1, Workers: s.counted.Workers + 1}
	return now, s.changed, nil
}

// stir ends the waiting calls; s.mu is held.
func (s *Signals) stir() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
