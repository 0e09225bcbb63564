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
	// Kind is the name of the fault.
	Kind string
	// Doc describes what the fault does, from its begin to its end.
	Doc string
	// Longest is the time after which the fault ends by itself.
	Longest time.Duration
	// Loses describes which committed work may be lost when the fault has ended. Empty means nothing.
	// What was committed before it began is never lost.
	Loses string

	needs func() error
	alone bool // it changes which server is in use: only one at a time
}

// Needs returns an error that names what this machine lacks for the fault, or nil.
func (f Fault) Needs() error {
	if f.needs == nil {
		return nil
	}
	return f.needs()
}

// End ends a fault and returns the outcome. Later calls return the same.
type End func() (detail string, err error)

// ErrBusy is returned for a fault that cannot begin because another one that changes the server has
// not ended.
var ErrBusy = errors.New("another fault has the server")

// ending ends a fault.
type ending func(context.Context) (detail string, err error)

// over ends a fault that needs no ending.
func over(context.Context) (string, error) { return "", nil }

// act is a fault together with the function that begins it.
type act[T any] struct {
	Fault
	begin func(T, context.Context) (ending, error)
}

// list returns the faults of the acts.
func list[T any](acts []act[T]) (faults []Fault) {
	for _, a := range acts {
		faults = append(faults, a.Fault)
	}
	return faults
}

// stage tracks the faults that have begun and not ended.
type stage struct {
	ended sync.WaitGroup // waits for the faults that end by themselves

	mu     sync.Mutex
	open   map[int]End
	next   int
	alone  bool
	closed bool
}

// takesAtMost limits the time for the beginning of a fault, and for its end.
const takesAtMost = 2 * time.Minute

// perform begins the fault of the given kind.
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

// enter reserves the stage, exclusively for a fault that must be alone.
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

// opened returns the End of a fault that has begun.
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
	timer := time.AfterFunc(f.Longest, func() { _, _ = end() }) // the caller of End gets the outcome
	if s.open == nil {
		s.open = make(map[int]End)
	}
	s.open[n] = func() (string, error) {
		timer.Stop()
		return end()
	}
	return s.open[n]
}

// close ends the remaining faults, and lets no new ones begin.
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
