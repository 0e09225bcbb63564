package pgstore

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// scan remembers where claims go on: which routes have something to claim, as far as is known, and
// where in each of them the last claim ended. While more waits than can be done, the entries that
// earlier claims deleted are still in the index until the server has vacuumed it: a hundred
// thousand of them, or those of a whole day while an old snapshot keeps it from doing so. A claim
// that began at the front would step over all of them.
//
// It is a hint. What it does not know is found by the next poll, and what is before the cursors is
// found when a poll begins at the front again: at once when something urgent is announced,
// otherwise after fullEvery.
type scan struct {
	mu      sync.Mutex
	cursors map[int64]*cursor // by the number of the route

	full      time.Time     // when a poll began at the front
	fullEvery time.Duration // how often one does
	polled    time.Time
	pollEvery time.Duration

	claims int   // under way
	urgent int64 // the least sort_priority that was announced since the first of them began
}

// cursor is what is known of a route.
type cursor struct {
	route
	number int64
	// next is where the next claim begins. No task that can be claimed is before first, as far as
	// is known; if exact is set one was there at the last poll, otherwise there may be none.
	next, first    position
	waiting, exact bool
}

// position is a place in the order of a route.
type position struct {
	sortPriority int32
	queued       bool
	runAt        time.Time
	id           [16]byte
}

// front is before all other positions.
var front = position{sortPriority: math.MinInt32, runAt: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}

func (p position) compare(other position) int {
	queued := 0
	if p.queued != other.queued {
		if queued = -1; p.queued {
			queued = 1
		}
	}
	return cmp.Or(cmp.Compare(p.sortPriority, other.sortPriority), queued, p.runAt.Compare(other.runAt), bytes.Compare(p.id[:], other.id[:]))
}

const (
	// everything is a sort_priority before all others, and plainPriority that of a new task without
	// a priority.
	everything    = math.MinInt64
	plainPriority = int64(^0)
	// lateness is how long before its commit a task may have got its place, which is the beginning
	// of its transaction, and still be found at once.
	lateness = 250 * time.Millisecond
	// fullEvery is for how long a task may go unseen that was recorded later in its place. Where a
	// poll from the front takes long it is made less often, so that it costs a hundredth of the
	// time.
	fullEvery  = time.Second
	fullAtMost = 10 * time.Second
	// pollEvery is how often a busy worker polls, for the sake of routes that it does not know and
	// of delays that have run out; or less often, so that it costs a tenth of the time.
	pollEvery  = 100 * time.Millisecond
	pollAtMost = time.Second
)

// piece is a part of the index of what can be claimed.
type piece struct {
	first, last int64 // routes
	from        position
}

// pieces returns the parts of the index that a poll for a request must read: the routes that are
// known, each from where the last claim ended, and the gaps between them. full reports whether it
// begins at the front everywhere.
func (s *scan) pieces(req task.ClaimRequest) (all []piece, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full = time.Since(s.full) >= max(s.fullEvery, fullEvery); full {
		s.full = time.Now()
		clear(s.cursors)
	}
	s.polled = time.Now()
	known := make([]int64, 0, len(s.cursors))
	for number := range s.cursors {
		known = append(known, number)
	}
	slices.Sort(known)
	for _, r := range rangesOf(req) {
		at := r.first
		i, _ := slices.BinarySearch(known, r.first)
		for ; i < len(known) && known[i] <= r.last; i++ {
			if n := known[i]; at < n {
				all = append(all, piece{first: at, last: n - 1, from: front})
			}
			all = append(all, piece{first: known[i], last: known[i], from: s.cursors[known[i]].next})
			at = known[i] + 1
		}
		if at <= r.last {
			all = append(all, piece{first: at, last: r.last, from: front})
		}
	}
	return all, full
}

// rangesOf returns the routes that a request admits, sorted.
func rangesOf(req task.ClaimRequest) []piece {
	var all []piece
	for _, k := range req.Kinds {
		if min(k.Max, req.Max) <= 0 {
			continue
		}
		if len(req.Queues) == 0 {
			all = append(all, piece{first: firstRoute(k.Kind), last: lastRoute(k.Kind)})
		}
		for _, queue := range req.Queues {
			n := route{kind: k.Kind, queue: queue}.number()
			all = append(all, piece{first: n, last: n})
		}
	}
	slices.SortFunc(all, func(a, b piece) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	return slices.CompactFunc(all, func(a, b piece) bool { return a.first == b.first }) // kinds whose ranges are one
}

// found is a route that a poll found, with its first task.
type found struct {
	route
	number int64
	first  position
}

// polledAll records what a poll for a request found in its pieces, and how long it took.
func (s *scan) polledAll(pieces []piece, polled polled, full bool, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full {
		s.fullEvery = min(max(fullEvery, 100*took), fullAtMost)
	}
	s.pollEvery = min(max(pollEvery, 10*took), pollAtMost)
	for _, p := range pieces {
		if c := s.cursors[p.first]; c != nil && p.first == p.last {
			c.waiting = false
		}
	}
	for _, f := range polled.all {
		c := s.know(f)
		if polled.expired && c.next == front { // the poll has stepped over them, and a claim need not do so again
			c.goOn(f.first, f.first.runAt.Add(-lateness))
			c.first, c.exact = f.first, true
		}
	}
}

// know records that a route has something; s.mu is held.
func (s *scan) know(f found) *cursor {
	c := s.cursors[f.number]
	if c == nil {
		c = &cursor{route: f.route, number: f.number, next: front}
		if s.cursors == nil {
			s.cursors = make(map[int64]*cursor)
		}
		s.cursors[f.number] = c
	}
	if !c.waiting || f.first.compare(c.first) <= 0 {
		c.first, c.exact = f.first, true
	}
	c.waiting = true
	return c
}

// plan returns the routes that a claim is to ask for: those whose first tasks come first, until as
// many of them have one as it may take tasks, since the tasks that come first of all are in these.
func (s *scan) plan(req task.ClaimRequest) []cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []cursor
	for _, c := range s.cursors {
		if c.waiting {
			all = append(all, *c)
		}
	}
	return mostUrgent(all, req)
}

// mostUrgent returns the routes with the first tasks among those that a request admits, as many as
// it needs. Those that are not wanted may be the first ones. A route whose first task has a lower
// priority than is wanted has no other one.
func mostUrgent(all []cursor, req task.ClaimRequest) []cursor {
	room, roomOf := req.Max+len(req.Except), make(map[string]int, len(req.Kinds))
	for _, k := range req.Kinds {
		if most := min(k.Max, req.Max); most > 0 {
			roomOf[k.Kind] = most + len(req.Except)
		}
	}
	all = slices.DeleteFunc(all, func(c cursor) bool {
		return roomOf[c.kind] <= 0 || len(req.Queues) > 0 && !slices.Contains(req.Queues, c.queue) ||
			req.MinPriority != nil && c.first.sortPriority > lastPriority(req)
	})
	slices.SortFunc(all, func(a, b cursor) int { return a.first.compare(b.first) })
	return slices.DeleteFunc(all, func(c cursor) bool {
		if room <= 0 || roomOf[c.kind] <= 0 {
			return true
		}
		if c.exact {
			room--
			roomOf[c.kind]--
		}
		return false
	})
}

// needsPoll reports whether a poll comes before a claim.
func (s *scan) needsPoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.polled) >= max(s.pollEvery, pollEvery)
}

// begin notes that a claim is under way, until end.
func (s *scan) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == 0 {
		s.urgent = math.MaxInt64
	}
	s.claims++
}

func (s *scan) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims--
}

// claimed records where a claim ended in each route, when it was made by the server's clock, and
// whether it took all that there was.
func (s *scan) claimed(planned []cursor, ends map[int64]position, at time.Time, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range planned {
		c := s.cursors[p.number]
		if c == nil {
			continue
		}
		if end, some := ends[p.number]; some {
			c.exact = false
			if int64(end.sortPriority) <= s.urgent { // otherwise a task may have come before the end meanwhile
				c.goOn(end, at.Add(-lateness))
			}
		}
		if all && s.urgent == math.MaxInt64 {
			c.waiting = false
		}
	}
}

// goOn has claims go on where the last one ended, or a little before that: at the tasks that got
// their place at that time, or later.
func (c *cursor) goOn(end position, before time.Time) {
	if end.runAt.After(before) {
		end.runAt, end.id = before, [16]byte{}
	}
	if c.next.compare(end) < 0 {
		c.next = end
	}
	c.first = c.next
}

// arrived notes that tasks of this sort_priority, or of a greater one, have come, and may be before
// the cursors.
func (s *scan) arrived(sortPriority int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urgent = min(s.urgent, sortPriority)
	for _, c := range s.cursors {
		if sortPriority < int64(c.next.sortPriority) {
			c.next = front
		}
	}
	s.polled = time.Time{}
}
