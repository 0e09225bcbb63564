//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Fault is a kind of fault.
type Fault struct {
	// Kind is its name.
	Kind string
	// Doc says what it does, from its begin to its end.
	Doc string
	// Longest is after how long it ends by itself.
	Longest time.Duration
	// Loses says what of the committed work may be gone when it has ended; empty: nothing. What was
	// committed before it began is never lost.
	Loses string

	needs func() error
	alone bool // it changes which server there is: no two at a time
}

// Needs says, as an error, what this machine lacks for the fault.
func (f Fault) Needs() error {
	if f.needs == nil {
		return nil
	}
	return f.needs()
}

// End ends a fault, and says what came of it. Later calls say the same.
type End func() (detail string, err error)

// ErrBusy means that a fault cannot begin, because another one that changes the server has not
// ended.
var ErrBusy = errors.New("another fault has the server")

// ending is how a fault ends.
type ending func(context.Context) (detail string, err error)

// over ends a fault of which nothing is left.
func over(context.Context) (string, error) { return "", nil }

// act is a fault and how it begins on something.
type act[T any] struct {
	Fault
	begin func(T, context.Context) (ending, error)
}

// list returns the faults alone.
func list[T any](acts []act[T]) (faults []Fault) {
	for _, a := range acts {
		faults = append(faults, a.Fault)
	}
	return faults
}

// stage knows the faults that have begun and not ended.
type stage struct {
	ended sync.WaitGroup // those that end by themselves

	mu     sync.Mutex
	open   map[int]End
	next   int
	alone  bool
	closed bool
}

// takesAtMost bounds the begin of a fault, and its end.
const takesAtMost = 2 * time.Minute

// perform begins a fault of some acts.
func perform[T any](ctx context.Context, s *stage, acts []act[T], kind string, on T) (End, error) {
	i := slices.IndexFunc(acts, func(a act[T]) bool { return a.Kind == kind })
	if i < 0 {
		return nil, fmt.Errorf("there is no fault %q here", kind)
	}
	a := acts[i]
	if err := a.Needs(); err != nil {
		return nil, err
	}
	if err := s.enter(a.alone); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, takesAtMost)
	defer cancel()
	finish, err := a.begin(on, ctx)
	if err != nil {
		s.leave(-1, a.alone)
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return s.opened(a.Fault, finish), nil
}

// enter takes the stage for a fault that must be alone.
func (s *stage) enter(alone bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || alone && s.alone {
		return ErrBusy
	}
	s.alone = s.alone || alone
	s.ended.Add(1)
	return nil
}

// leave is the opposite of enter.
func (s *stage) leave(n int, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, n)
	s.alone = s.alone && !alone
	s.ended.Done()
}

// opened returns the end of a fault that has begun.
func (s *stage) opened(f Fault, finish ending) End {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next
	s.next++
	end := sync.OnceValues(func() (string, error) {
		defer s.leave(n, f.alone)
		ctx, cancel := context.WithTimeout(context.Background(), takesAtMost)
		defer cancel()
		detail, err := finish(ctx)
		if err != nil {
			err = fmt.Errorf("the end of %s: %w", f.Kind, err)
		}
		return detail, err
	})
	timer := time.AfterFunc(f.Longest, func() { _, _ = end() }) // who ends it is told
	if s.open == nil {
		s.open = make(map[int]End)
	}
	s.open[n] = func() (string, error) {
		timer.Stop()
		return end()
	}
	return s.open[n]
}

// close ends the faults that are left, and lets none begin.
func (s *stage) close() (err error) {
	s.mu.Lock()
	s.closed = true
	var left []End
	for _, end := range s.open {
		left = append(left, end)
	}
	s.mu.Unlock()
	for _, end := range left {
		if _, e := end(); e != nil {
			err = errors.Join(err, e)
		}
	}
	s.ended.Wait()
	return err
}
