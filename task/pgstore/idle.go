package pgstore

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// idle keeps a worker that found nothing from polling again, until something is announced or some
// time has passed. So an idle worker writes nothing except its beats, and asks the server little.
type idle struct {
	mu         sync.Mutex
	generation uint64 // how many times something was announced
	claimer    string // that found nothing
	until      time.Time
	neighbours time.Time // when a poll last checked the neighbours' sessions
}

const (
	// idleFor is how long a worker relies on a poll that found nothing. It is short because an
	// announcement is lost with the process that was to send it.
	idleFor = time.Second
	// neighboursEvery is how often a poll checks the neighbours' sessions too.
	neighboursEvery = 900 * time.Millisecond
)

// wake notes that there may be something to claim.
func (i *idle) wake() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.claimer = ""
	i.generation++
}

// isIdle reports whether this claimer has just found nothing. The generation is an argument for
// set.
func (i *idle) isIdle(claimer string) (idle bool, generation uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.claimer == claimer && time.Now().Before(i.until), i.generation
}

// set notes that a claimer found nothing, unless something was announced since.
func (i *idle) set(claimer string, generation uint64, next time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.generation == generation {
		i.claimer, i.until = claimer, time.Now().Add(min(next, idleFor))
	}
}

// checksNeighbours reports whether a poll that begins now is to check the neighbours' sessions too.
func (i *idle) checksNeighbours() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.neighbours) < neighboursEvery {
		return false
	}
	i.neighbours = time.Now()
	return true
}

// claimerOf returns a text that is the same for two claims if they would find the same tasks.
func claimerOf(req task.ClaimRequest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v %v %s %q %q", req.Worker, req.Interrupted, req.Suspects > 0, req.Suspicion, req.Queues, req.Except)
	if req.MinPriority != nil {
		fmt.Fprintf(&b, " from %d", *req.MinPriority)
	}
	for _, k := range req.Kinds {
		if min(k.Max, req.Max) > 0 {
			fmt.Fprintf(&b, " %q", k.Kind)
		}
	}
	return b.String()
}
