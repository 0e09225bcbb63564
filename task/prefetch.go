package task

import (
	"sync/atomic"
	"time"
)

// prefetch decides how many tasks to claim beyond the free slots.
//
// A worker that has tasks of a few milliseconds would spend more time on waiting for its claims
// than on handlers. So it prefetches: beyond its free slots it claims as many tasks as handlers are
// likely to return while the claim is under way, and a batch more, so that not each of them needs a
// claim. It does so only where there is more to do than can be done, and where it has seen nothing
// but short handlers for a while: behind a long one the others would wait, and no other worker
// could take them.
//
// What is claimed and has not begun is running for everybody else. So it does not wait for long:
// when handlers keep their slots against expectation, and at last call, the runs that wait are
// given back.
type prefetch struct {
	// handlers that have returned since the last claim, for how long they ran, together and at
	// most. They are counted without a lock.
	count, total, longest atomic.Int64

	// The lock of the slots guards the rest.

	// pace is how many handlers are likely to return during a claim, 0 where nothing is prefetched.
	pace int
	// since when every claim has got what it asked for, and no handler was seen that was long;
	// zero: not now.
	since time.Time
	// until when nothing is prefetched, after a long handler.
	until time.Time
}

const (
	// shortHandler is how long a handler may take. A claim that takes longer counts as no longer: a
	// store that is slow or busy must not make the worker take all there is.
	shortHandler = 50 * time.Millisecond
	// prefetchAfter is how long nothing but short handlers must have been seen.
	prefetchAfter = 2 * shortHandler
	// After a long handler nothing is prefetched for this many times its duration, and at most for
	// so long: that bounds what a few long ones among many can hold up, and one that only stumbled
	// is soon forgotten.
	pauseTimes = 10
	maxPause   = time.Minute
	// maxPrefetch bounds what a worker with few slots prefetches; one with more has as many as
	// slots.
	maxPrefetch = 100
	// maxWait is how old a run may get that has not begun.
	maxWait = time.Second
	// maxInspected bounds the runs that are looked at for a long one. Those that stay do not move
	// back in the runSet, and among more slots than this a long one more or less holds up nothing.
	maxInspected = 64
)

// returned is told of a handler that has returned and took so long.
func (p *prefetch) returned(after time.Duration) {
	took := int64(after)
	p.count.Add(1)
	p.total.Add(took)
	for most := p.longest.Load(); took > most && !p.longest.CompareAndSwap(most, took); most = p.longest.Load() {
	}
}

// goesOn reports whether something is prefetched now: no handler that has returned since the last
// claim was long.
func (p *prefetch) goesOn() bool {
	return p.pace > 0 && time.Duration(p.longest.Load()) <= shortHandler
}

// claimed sets the pace after a claim that took so long: full says whether there was as much as it
// asked for, long whether a handler runs that is long already.
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

// stop ends the prefetching until there has been nothing but short handlers for a while.
func (p *prefetch) stop() { p.pace, p.since = 0, time.Time{} }
