//go:build linux

package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// progress tracks how far the tasks are, as the harness sees it from the clients' answers and from
// the effects. The load uses it to choose its calls. It has no part in the verdict. Its methods are
// safe for concurrent use.
type progress struct {
	mu sync.Mutex
	// The ids of tasks that were accepted and have not ended as far as known, by number.
	open     map[int]string
	queues   map[int]string // their queues
	running  map[int]bool   // those of them that have begun
	doomed   map[int]string // the ids of those that fail for good
	over     map[int]string // the ids of some that have certainly ended, and were not deleted
	last     time.Time      // of the last accepted effect
	accepted int
}

func newProgress() *progress {
	return &progress{open: make(map[int]string), queues: make(map[int]string), running: make(map[int]bool), doomed: make(map[int]string), over: make(map[int]string), last: time.Now()}
}

// effect handles an accepted effect.
func (p *progress) effect(e history.Effect) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if e.Step == history.Finished {
		p.close(e.Seq)
		return
	}
	p.running[e.Seq] = true
}

// enqueued handles the answer to an enqueue.
func (p *progress) enqueued(plans []history.Plan, a history.Answer) {
	if a.Outcome != history.Done {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, plan := range plans {
		if i >= len(a.IDs) || i < len(a.Existed) && a.Existed[i] {
			continue
		}
		p.accepted++
		switch {
		case max(plan.Fail, plan.Exit) >= forGood:
			p.doomed[plan.Seq] = a.IDs[i]
		case plan.StartBeforeMS > 0: // nobody sees whether it has expired
		default:
			p.open[plan.Seq], p.queues[plan.Seq] = a.IDs[i], plan.Queue
		}
	}
}

// ended notes that a task needs no more work, for example after a cancel.
func (p *progress) ended(seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(seq)
}

// endedAll notes that the tasks of a queue need no more work.
func (p *progress) endedAll(queue string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq, in := range p.queues {
		if in == queue {
			p.close(seq)
		}
	}
}

// close removes a task from the open ones. The caller holds p.mu.
func (p *progress) close(seq int) {
	if id := p.open[seq]; id != "" && len(p.over) < 1000 {
		p.over[seq] = id
	}
	delete(p.running, seq)
	delete(p.open, seq)
	delete(p.queues, seq)
}

// deleted notes that a task was deleted.
func (p *progress) deleted(seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.over, seq)
}

// forget removes all open tasks, since the store may have lost any of them. Those that the store
// still has are done anyway. One that is gone would stay in the backlog for ever, and the load
// would stop.
func (p *progress) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.running)
	clear(p.open)
	clear(p.queues)
}

// backlog returns how many tasks are still to be done.
func (p *progress) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// quiet returns how long no effect was accepted.
func (p *progress) quiet() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// pick returns a random task that suits the operation: one that is running, has failed, has ended,
// or any that has not ended. The id is empty if there is none.
func (p *progress) pick(rng *rand.Rand, op history.Op) (seq int, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var some []int
	from := p.open
	switch op {
	case history.Interrupt:
		for seq := range p.running {
			if p.open[seq] != "" {
				some = append(some, seq)
			}
		}
	case history.Retry:
		from = p.doomed
	case history.Delete:
		from = p.over
	default:
	}
	if op != history.Interrupt {
		for seq := range from {
			some = append(some, seq)
		}
	}
	if len(some) == 0 {
		return 0, ""
	}
	slices.Sort(some)
	seq = some[rng.IntN(len(some))]
	return seq, from[seq]
}
