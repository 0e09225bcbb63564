package task

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// slots decide how many tasks a worker may claim, and when the handler of a claimed task is called.
// No more handlers than slots run at once. A run that finds no free slot waits for one; such runs
// are the prefetched ones. After close no run waits.
//
// Only the claiming goroutine lets the numbers of runs grow, in acquire; all others only let them
// shrink. So there is always at least as much room as that goroutine has seen.
type slots struct {
	limit int // how many handlers may run at once
	spare int // how many more while as many are unresponsive, at most

	// running counts the handlers that run; it grows only under mu. running, and what prefetch counts,
	// are counted without mu, so that a hundred thousand handlers that return at once do not wait for
	// mu one after the other.
	running atomic.Int64
	// waits reports whether waiting has any runs.
	waits    atomic.Bool
	prefetch prefetch

	mu       sync.Mutex     // guards the rest, and started of the runs
	held     int            // runs whose end is not written, with those that wait
	busy     map[string]int // those of kinds that have a limit of their own
	suspects int            // those that are suspects
	group    Suspicion      // of the suspects, unless there are none
	closed   bool           // last call has been made
	opened   int            // how many of the spare slots there are
	waiting  []*Run         // the runs that have no slot yet, the first first
	reserve  reserve
}

// room returns how many tasks to claim, for the free slots and to prefetch: how many of any status,
// and how many interrupted ones, which also get the slots that are kept for them. A slot is free
// when its handler has returned; but when ends cannot be written, no more of them wait than there
// are slots. s.mu is held.
//
// Handlers return meanwhile. So what is counted without s.mu is read once: the two numbers differ
// only if slots are kept.
func (s *slots) room(now time.Time) (plain, interrupted int) {
	running, waiting, prefetches := int(s.running.Load()), len(s.waiting), s.prefetch.goesOn()
	unwritten := s.held - running - waiting
	in := func(size int) int {
		room := min(size-running, size-unwritten) - waiting
		if prefetches {
			room += s.prefetch.pace + s.batch()
		}
		return max(0, room)
	}
	interrupted = in(s.size())
	if prefetches {
		return interrupted, interrupted // nothing is kept
	}
	return in(s.size() - s.reserve.kept(now)), interrupted
}

// size returns how many handlers may run at once now. s.mu is held.
func (s *slots) size() int { return s.limit + s.opened }

// open opens a spare slot for each of n unresponsive handlers, as far as there are spare slots.
func (s *slots) open(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = min(n, s.spare)
}

// batch returns how many tasks make a claim worth while when there is more work than slots. s.mu is
// held.
func (s *slots) batch() int { return min(max(s.limit/2, s.prefetch.pace), callChanges) }

// roomForBatch reports whether there is room for a batch.
func (s *slots) roomForBatch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	room, _ := s.room(time.Now())
	return room >= s.batch()
}

// wanted returns what there is room for: how many tasks, whether only interrupted ones, and of
// which kinds. The slots that are kept for interrupted tasks are used when no other one is free.
func (s *slots) wanted(mux *Mux, now time.Time) (most int, interrupted bool, kinds []KindClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most, withKept := s.room(now)
	if most == 0 && withKept > 0 {
		most, interrupted = withKept, true
	}
	for _, name := range mux.Kinds() {
		e, _ := mux.lookup(name)
		room := most
		if e.policy.concurrency > 0 {
			room = min(room, e.policy.concurrency-s.busy[name])
		}
		if room > 0 {
			kinds = append(kinds, KindClaim{Kind: name, Max: room, Limits: e.policy.limits, Retention: e.policy.retention})
		}
	}
	return most, interrupted, kinds
}

// kept returns how many free slots are kept for interrupted tasks. s.mu is held.
func (s *slots) kept(now time.Time) int {
	if s.prefetch.goesOn() {
		return 0
	}
	return s.reserve.kept(now)
}

// begin has slots kept from now on, until it is known whether there are neighbours.
func (s *slots) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserve.slots, s.reserve.started = s.limit, now
}

// meet stores the neighbours, and reports whether fewer slots are kept now.
func (s *slots) meet(n neighbours) (fewer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	before := s.kept(now)
	s.reserve.stopping = n.takeOver
	if !n.some {
		s.reserve.started = time.Time{}
	}
	return s.kept(now) < before
}

// wantedSuspects returns how many of the next tasks may be suspects, and of which group: those of
// the group that runs here, as many as there are free slots, or one of any group. It is at least
// one, even if all slots are taken: where tasks are prefetched there is never a free one, and
// acquire ends that.
func (s *slots) wantedSuspects() (most int, group Suspicion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspects == 0 {
		return 1, 0
	}
	return max(1, s.size()-int(s.running.Load())-len(s.waiting)), s.group
}

// claimed is called when a claim that took so long has ended. full means that it got as much as it
// asked for. running are some of the worker's runs.
func (s *slots) claimed(now time.Time, took time.Duration, full bool, running []*Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	long := false
	for _, r := range running {
		long = long || !r.started.IsZero() && now.Sub(r.started) > shortHandler
	}
	s.prefetch.claimed(now, took, full, long, s.limit)
}

// admission is what slots have decided about a new run.
type admission int

const (
	runBegins  admission = iota // it has a slot
	runWaits                    // it waits for one
	runRefused                  // last call has been made, or it is a suspect and would wait
)

// acquire enters a run, and gives it a slot or has it wait for one. A run that a claim returns
// after last call gets none: it may be one that the stop has just interrupted. A suspect does not
// wait, because it would be charged with a death before it has begun. Nothing is prefetched then
// for a while, so that it finds a free slot when it is claimed again.
func (s *slots) acquire(r *Run) admission {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	if r.policy.concurrency > 0 {
		if s.busy == nil {
			s.busy = make(map[string]int)
		}
		s.busy[r.task.Kind]++
	}
	if r.resumed() {
		s.reserve.resumed++
	}
	if r.suspect {
		if s.suspects++; s.suspects == 1 {
			s.group = r.task.Suspicion
		}
	}
	switch {
	case s.closed:
		return runRefused
	case len(s.waiting) == 0 && int(s.running.Load()) < s.size() && !s.overbooked(r):
		s.running.Add(1)
		r.started = r.claimed
		return runBegins
	case r.suspect:
		s.prefetch.stop()
		return runRefused
	}
	s.waiting = append(s.waiting, r)
	s.waits.Store(true)
	return runWaits
}

// release takes back the slot of a run whose handler has returned, and reports whether there may be
// a run that waits for it.
func (s *slots) release(r *Run, now time.Time) (waits bool) {
	s.releaseKind(r)
	s.prefetch.returned(now.Sub(r.started))
	s.running.Add(-1)
	return s.waits.Load()
}

// releaseKind is called for a run that has no slot, or no longer has one: its kind, or the reserve,
// has room for another run.
func (s *slots) releaseKind(r *Run) {
	limited, resumed := r.policy.concurrency > 0, r.resumed()
	if !limited && !resumed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if limited {
		s.busy[r.task.Kind]--
	}
	if resumed {
		s.reserve.resumed--
	}
}

// next gives a free slot to the first run that waits and may have one, and returns it; nil when
// there is no such slot or no such run. Both sides call it, the goroutine that has released a slot
// and sees that a run waits, and the one that has queued a run: whichever comes second sees the
// other's change.
func (s *slots) next(now time.Time) *Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.waiting) == 0 || int(s.running.Load()) >= s.size() {
		return nil
	}
	first := slices.IndexFunc(s.waiting, func(r *Run) bool { return !s.overbooked(r) })
	if first < 0 {
		return nil
	}
	r := s.waiting[first]
	s.waiting = slices.Delete(s.waiting, first, first+1)
	s.waits.Store(len(s.waiting) > 0)
	s.running.Add(1)
	r.started = now
	return r
}

// dismiss returns the runs that wait, which then no longer do, if the first has waited for too
// long. Nothing is prefetched for a while.
func (s *slots) dismiss(tooLong time.Duration) []*Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.waiting
	if len(waiting) == 0 || time.Since(waiting[0].claimed) < tooLong {
		return nil
	}
	s.waiting = nil
	s.waits.Store(false)
	s.prefetch.stop()
	return waiting
}

// close makes no run wait any more.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// begun returns the runs whose handler has been called, or is about to be.
func (s *slots) begun(runs []*Run) (begun []*Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range runs {
		if !r.started.IsZero() {
			begun = append(begun, r)
		}
	}
	return begun
}

// clearSuspect no longer counts a run as a suspect's, and reports whether it was the last one.
func (s *slots) clearSuspect(r *Run) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.suspect {
		r.suspect = false
		s.suspects--
	}
	return s.suspects == 0
}

// forget removes runs that need nothing more, and reports whether the claiming goroutine may wait
// for that. If not, release has notified it already.
func (s *slots) forget(runs []*Run) (awaited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room, _ := s.room(time.Now())
	awaited = s.suspects > 0 || room == 0
	s.held -= len(runs)
	for _, r := range runs {
		if r.suspect {
			s.suspects--
		}
	}
	return awaited
}
