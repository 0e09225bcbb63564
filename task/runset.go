package task

import (
	"slices"
	"sync"
)

// runSet is the set of runs that a worker has, in no order: from their claim until their end has
// been written, or is another worker's to write. The zero runSet is empty and ready.
type runSet struct {
	mu      sync.Mutex // guards the rest, and the place of each run
	runs    []*Run
	byFence map[Fence]*Run
	// next is where the list of the next beat begins, so that in time the beats ask about all runs.
	next int
}

// add enters a run.
func (s *runSet) add(r *Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.place = len(s.runs)
	s.runs = append(s.runs, r)
	if s.byFence == nil {
		s.byFence = make(map[Fence]*Run)
	}
	s.byFence[r.fence()] = r
}

// remove removes runs; the last run of the list moves to the place of each.
func (s *runSet) remove(runs ...*Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range runs {
		end := len(s.runs) - 1
		last := s.runs[end]
		s.runs[r.place], last.place = last, r.place
		s.runs[end] = nil
		s.runs = s.runs[:end]
		delete(s.byFence, r.fence())
	}
}

// find returns the run with that fence, or nil.
func (s *runSet) find(f Fence) *Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byFence[f]
}

// all returns every run that there is now.
func (s *runSet) all() []*Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.runs)
}

// appendFirst appends the runs that have been there longest, roughly, until into is full.
func (s *runSet) appendFirst(into []*Run) []*Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(into, s.runs[:min(len(s.runs), cap(into)-len(into))]...)
}

// fences returns the fences of all runs.
func (s *runSet) fences() []Fence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.someFences(len(s.runs))
}

// nextFences returns the fences of at most n runs, and of other runs the next time.
func (s *runSet) nextFences(n int) []Fence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.someFences(min(n, len(s.runs)))
}

// someFences returns the fences of n runs; s.mu is held.
func (s *runSet) someFences(n int) []Fence {
	fences := make([]Fence, 0, n)
	for range n {
		if s.next >= len(s.runs) {
			s.next = 0
		}
		fences = append(fences, s.runs[s.next].fence())
		s.next++
	}
	return fences
}
