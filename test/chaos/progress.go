//go:build linux

package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// progress knows how far the tasks are, as far as the harness sees it: from the answers of the
// clients and from the effects. The load chooses by it what to ask for. It decides nothing about
// right and wrong. Its methods are safe for concurrent use.
type progress struct {
	mu       sync.Mutex
	open     map[int]string // the ids of tasks that were accepted and are not known to have ended, by number
	running  map[int]bool   // those that have begun
	doomed   map[int]string // the ids of those that fail for good
	over     map[int]string // the ids of some that are known to have ended, and were not deleted
	last     time.Time      // of the last accepted effect
	accepted int
}

func newProgress() *progress {
	return &progress{open: make(map[int]string), running: make(map[int]bool), doomed: make(map[int]string), over: make(map[int]string), last: time.Now()}
}

// effect takes an accepted effect.
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

// enqueued takes the answer to an enqueue.
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
		if max(plan.Fail, plan.Exit) >= forGood {
			p.doomed[plan.Seq] = a.IDs[i]
		} else {
			p.open[plan.Seq] = a.IDs[i]
		}
	}
}

// ended notes that a task needs no more work, as one that was cancelled.
func (p *progress) ended(seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(seq)
}

// close takes a task from those that are open; p.mu is held.
func (p *progress) close(seq int) {
	if id := p.open[seq]; id != "" && len(p.over) < 1000 {
		p.over[seq] = id
	}
	delete(p.running, seq)
	delete(p.open, seq)
}

// deleted notes that a task was removed.
func (p *progress) deleted(seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.over, seq)
}

// forget takes all open tasks for gone, since the store may have lost any of them: those that it
// has are done all the same, but one that is gone would be in the backlog for ever, and the load
// stop.
func (p *progress) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.running)
	clear(p.open)
}

// backlog is how many tasks are to be done.
func (p *progress) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// quiet is for how long nothing has happened.
func (p *progress) quiet() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// pick returns a task at random: one that runs, or has failed, or has ended, or any that has not.
// Its id is empty when there is none.
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
