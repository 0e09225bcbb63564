package task

import (
	"sync/atomic"
	"time"
)

// prefetch decides how many tasks to claim beyond the free slots.
//
// A worker with tasks of a few milliseconds would spend more time waiting for its claims than in
// handlers. So it prefetches. Beyond its free slots it claims as many tasks as handlers are likely
// to return while the claim is under way, and a batch more, so that not each of them needs a claim.
// It does so only where there is more work than slots, and where all handlers have been short for a
// while: behind a long one the prefetched tasks would wait, and no other worker could claim them.
//
// For everybody else, a task that is claimed and has not begun is running. So it does not wait for
// long: when handlers keep their slots longer than expected, and at last call, the runs that wait
// are released.
type prefetch struct {
	// handlers that have returned since the last claim: how many, how long they ran together, and the
	// longest. They are counted without a lock.
	count, total, longest atomic.Int64

	// The lock of the slots guards the rest.

	// pace is how many handlers are likely to return during a claim, 0 when nothing is prefetched.
	pace int
	// since when every claim has got what it asked for, and no handler was long; zero: not now.
	since time.Time
	// until when nothing is prefetched, after a long handler.
	until time.Time
}

const (
	// shortHandler is how long a short handler may take. A claim that takes longer counts as this
	// long: a slow or busy store must not make the worker claim everything.
	shortHandler = 50 * time.Millisecond
	// prefetchAfter is how long all handlers must have been short.
	prefetchAfter = 2 * shortHandler
	// After a long handler nothing is prefetched for this many times its duration, but at most for
	// maxPause. That bounds what a few long handlers among many can hold up, and one that was
	// slow only once is soon forgotten.
	pauseTimes = 10
	maxPause   = time.Minute
	// maxPrefetch bounds what a worker with few slots prefetches. A worker with more slots prefetches
	// at most as many as it has slots.
	maxPrefetch = 100
	// maxWait is how old a run may get that has not begun.
	maxWait = time.Second
	// maxInspected bounds the runs that are searched for a long one. Runs that stay do not move back
	// in the runSet, and among more slots than this one long run hardly holds up anything.
	maxInspected = 64
)

// returned is called for a handler that has returned, with how long it took.
func (p *prefetch) returned(after time.Duration) {
	took := int64(after)
	p.count.Add(1)
	p.total.Add(took)
	for most := p.longest.Load(); took > most && !p.longest.CompareAndSwap(most, took); most = p.longest.Load() {
	}
}

// goesOn reports whether tasks are prefetched now: no handler that has returned since the last
// claim was long.
func (p *prefetch) goesOn() bool {
	return p.pace > 0 && time.Duration(p.longest.Load()) <= shortHandler
}

// claimed sets the pace after a claim that took so long. full means that the claim got as much as
// it asked for, long that a handler that runs now is long already.
func (p *prefetch) claimed(now time.Time, took time.Duration, full, long bool, slots int) {
	count, total, longest := p.count.Swap(0), p.total.Swap(0), time.Duration(p.longest.Swap(0))
	if longest > shortHandler {
		if until := now.Add(min(pauseTimes*longest, maxPause)); until.After(p.until) {
			p.until = until
		}
	}
	switch {
	case !full || longest > shortHandler || long:
		p.stop()
	case p.since.IsZero():
		p.since = now
	case now.Sub(p.since) < prefetchAfter || now.Before(p.until):
	case count == 0:
		p.pace /= 2
	default:
		each := max(total/count, 1)
		p.pace = min(int(int64(slots)*int64(min(took, shortHandler))/each), max(slots, maxPrefetch)/2)
	}
}

// stop ends the prefetching until all handlers have been short for a while.
func (p *prefetch) stop() { p.pace, p.since = 0, time.Time{} }
