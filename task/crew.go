package task

import "sync"

// crew is the goroutines that run handlers. One that is done waits for another run: its stack has
// grown once and need not grow again.
type crew struct {
	do   func(*Run)
	jobs chan *Run

	waiting sync.WaitGroup
	mu      sync.Mutex
	idle    int
}

// maxIdle bounds the goroutines that wait, and so the memory of their stacks.
const maxIdle = 1000

func newCrew(do func(*Run)) *crew { return &crew{do: do, jobs: make(chan *Run)} }

// run has a run done by a goroutine.
func (c *crew) run(r *Run) {
	select {
	case c.jobs <- r:
	default:
		c.waiting.Go(func() {
			for r := r; r != nil; r = c.another() {
				c.do(r)
			}
		})
	}
}

// another waits for a run; nil says to end.
func (c *crew) another() *Run {
	c.mu.Lock()
	full := c.idle == maxIdle
	if !full {
		c.idle++
	}
	c.mu.Unlock()
	if full {
		return nil
	}
	r := <-c.jobs
	c.mu.Lock()
	c.idle--
	c.mu.Unlock()
	return r
}

// dismiss ends the goroutines and waits for them. Nothing may be run any more.
func (c *crew) dismiss() {
	close(c.jobs)
	c.waiting.Wait()
}
