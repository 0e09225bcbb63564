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

// scan remembers where the next claims begin: which routes have something to claim, as far as is
// known, and where in each of them the last claim ended (the cursor). While more tasks wait than
// workers can take, the entries of claimed tasks are still in the index until the server has
// vacuumed it. They may be a hundred thousand, or those of a whole day while an old snapshot
// prevents vacuum. A claim that began at the front would step over all of them.
//
// All of this is a hint. What it misses is found by the next poll. Tasks before the cursors are
// found when a poll begins at the front again: at once when something urgent is announced,
// otherwise after fullEvery.
type scan struct {
	mu      sync.Mutex
	cursors map[int64]*cursor // by the number of the route

	full      time.Time     // when the last poll from the front began
	fullEvery time.Duration // the time from one of them to the next
	polled    time.Time
	pollEvery time.Duration

	claims int   // in progress
	urgent int64 // the least sort_priority that was announced since the first of them began
}

// cursor is what is known about a route.
type cursor struct {
	route
	number int64
	// next is where the next claim begins. As far as is known, no task before first can be claimed.
	// If exact is set, the last poll has seen a task at first; otherwise there may be none.
	next, first    position
	waiting, exact bool
}

// position is a place in the order of the tasks of a route.
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
	// everything is a sort_priority before all others. plainPriority is that of a new task without a
	// priority.
	everything    = math.MinInt64
	plainPriority = int64(^0)
	// lateness is how far the cursors stay behind the clock. A task gets its place when its
	// transaction begins, and can be seen when that has committed. A task whose commit comes within
	// this time is found at once.
	lateness = 250 * time.Millisecond
	// fullEvery is how long a task may stay unseen that was recorded before a cursor. Polls from the
	// front that take long are run less often, so that they take a hundredth of the time, but not
	// less often than every fullAtMost.
	fullEvery  = time.Second
	fullAtMost = 10 * time.Second
	// pollEvery is how often a busy worker polls, to find new routes and delays that have run out.
	// Polls that take long are run less often, so that they take a tenth of the time, but not less
	// often than every pollAtMost.
	pollEvery  = 100 * time.Millisecond
	pollAtMost = time.Second
)

// piece is a part of the index of the tasks that can be claimed.
type piece struct {
	first, last int64 // routes
	from        position
}

// pieces returns the parts of the index that a poll for a request must read: each known route from
// where its last claim ended, and the gaps between the known routes. full reports whether the poll
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
	// Two kinds may have the same range.
	return slices.CompactFunc(all, func(a, b piece) bool { return a.first == b.first })
}

// found is a route that a poll found, with its first task.
type found struct {
	route
	number int64
	first  position
}

// polledAll records what a poll found in its pieces, and how long the poll took.
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
		// The poll has stepped over expired tasks, so the claim need not.
		if polled.expired && c.next == front {
			c.goOn(f.first, f.first.runAt.Add(-lateness))
			c.first, c.exact = f.first, true
		}
	}
}

// know records that a route has something to claim. The caller holds s.mu.
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

// plan returns the routes that a claim is to read: those with the most urgent first tasks. It stops
// when as many of these routes are known to have a task as the claim may take tasks: the most
// urgent tasks of all are in these routes.
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

// mostUrgent returns the routes with the most urgent first tasks among those that a request admits,
// as many as it needs. The tasks of req.Except may be the first ones, so it allows for them. A
// route whose first task has a lower priority than MinPriority is left out: it has no other task
// either.
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

// needsPoll reports whether a poll must precede the next claim.
func (s *scan) needsPoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.polled) >= max(s.pollEvery, pollEvery)
}

// begin notes that a claim is in progress, until end is called.
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

// claimed records where a claim ended in each route, when the claim was made by the clock of the
// server, and whether it took everything there was.
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
			// Otherwise a task before the end may have arrived meanwhile.
			if int64(end.sortPriority) <= s.urgent {
				c.goOn(end, at.Add(-lateness))
			}
		}
		if all && s.urgent == math.MaxInt64 {
			c.waiting = false
		}
	}
}

// goOn has the next claims begin where the last one ended, but not after the time before: at that
// time, if the end is later.
func (c *cursor) goOn(end position, before time.Time) {
	if end.runAt.After(before) {
		end.runAt, end.id = before, [16]byte{}
	}
	if c.next.compare(end) < 0 {
		c.next = end
	}
	c.first = c.next
}

// arrived notes that tasks with this sort_priority or a greater one have arrived, which may be
// before the cursors.
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
