package pgstore

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// claimer remembers whether it is worth while to claim without a look, and to look at all.
type claimer struct {
	mu       sync.Mutex
	busy     bool
	promoted time.Time
	glanced  time.Time
	news     uint64 // how often there was something
	quiet    string // who looked and found nothing
	until    time.Time
	bounds   map[int32]bound // where to begin, while there is more than is asked for
	full     time.Time       // when a claim began at the front
	every    time.Duration   // how often one does
	under    int             // claims under way
	heard    int64           // the first rank that was announced since the first of them began
}

// bound is a place in a lane.
type bound struct {
	rank  int64
	fresh bool
	runAt time.Time
	id    [16]byte
}

// compare is the order of the tasks of a lane.
func (b bound) compare(other bound) int {
	fresh := 0
	if b.fresh != other.fresh {
		if fresh = -1; b.fresh {
			fresh = 1
		}
	}
	return cmp.Or(cmp.Compare(b.rank, other.rank), fresh, b.runAt.Compare(other.runAt), bytes.Compare(b.id[:], other.id[:]))
}

// fullEvery is how often claims begin at the front of the lanes, although what stands there has been
// taken: for how long a task may go unseen that was recorded late in its place. Where such a claim takes
// long it is made less often, so that it costs a hundredth of the time, up to fullAtMost. While there is more
// to do than can be done, a claim begins where the one before ended, since what that one and its
// predecessors took away must be stepped over until the server has cleared it up: a hundred thousand
// entries, or all of a day's while somebody's old snapshot keeps the server from doing so.
const (
	fullEvery  = time.Second
	fullAtMost = 10 * time.Second
)

// from returns the place in a lane where a claim begins.
func (c *claimer) from(n int32) bound {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.bounds[n]; ok && time.Since(c.full) < c.every {
		return b
	}
	return bound{rank: everything, runAt: longAgo}
}

var longAgo = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)

// begin says that a claim is under way, until end.
func (c *claimer) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under == 0 {
		c.heard = math.MaxInt64
	}
	c.under++
}

func (c *claimer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under--
}

// early says that something of a rank has come that may stand before the bounds: everything but new
// tasks of a rank that no bound has reached.
func (c *claimer) early(rank int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = min(c.heard, rank)
	for _, b := range c.bounds {
		if rank < b.rank {
			c.bounds = nil
			return
		}
	}
}

// everything is a rank before all others.
const everything = math.MinInt64

// took records where a claim ended in each lane, how long it took, and whether it got all that it asked
// for: otherwise nothing has been left behind it.
func (c *claimer) took(all bool, long time.Duration, ends func() map[int32]bound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !all {
		c.bounds = nil
		return
	}
	if time.Since(c.full) >= c.every {
		c.bounds, c.full = nil, time.Now()
		c.every = min(max(fullEvery, 100*long), fullAtMost)
	}
	if c.bounds == nil {
		c.bounds = make(map[int32]bound)
	}
	for n, b := range ends() {
		if c.heard < b.rank { // something may have come behind the claim's back
			delete(c.bounds, n)
		} else {
			c.bounds[n] = b
		}
	}
}

// forget drops the bounds, and says whether there were any.
func (c *claimer) forget() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := len(c.bounds) > 0
	c.bounds = nil
	return had
}

// quietFor is for how long a look that found nothing stands, unless there is news: an announcement
// is lost with the process that was to make it.
const quietFor = time.Second

// found says that there is something.
func (c *claimer) found() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.quiet = true, ""
	c.news++
}

// isQuiet says whether this claimer has just looked and found nothing. news is for hush.
func (c *claimer) isQuiet(who string) (quiet bool, news uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet == who && time.Now().Before(c.until), c.news
}

// hush says that a claimer looked and found nothing, unless there has been news since.
func (c *claimer) hush(who string, news uint64, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.news == news {
		c.busy, c.quiet, c.until = false, who, time.Now().Add(min(next, quietFor))
	}
}

func (c *claimer) set(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// glanceEvery is how often looks have an eye on the neighbours' locks, if there are so many looks.
const glanceEvery = 900 * time.Millisecond

// glances says whether a look that begins now is to do so.
func (c *claimer) glances() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.glanced) < glanceEvery {
		return false
	}
	c.glanced = time.Now()
	return true
}

// lookAgain has the next claim look first.
func (c *claimer) lookAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.promoted = time.Time{}
}

// needsLook says whether a look comes first: when the last claim got nothing, and now and then, for
// the sake of delays that have run out.
func (c *claimer) needsLook() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && time.Since(c.promoted) < 100*time.Millisecond {
		return false
	}
	c.promoted = time.Now()
	return true
}

// whoClaims names everything that makes a claim find other tasks than another one.
func whoClaims(req task.ClaimRequest) string {
	var b strings.Builder
	fmt.Fprint(&b, req.Worker, req.Suspect, req.Queues, req.Except)
	for _, k := range req.Kinds {
		b.WriteString(" " + k.Kind)
	}
	return b.String()
}
