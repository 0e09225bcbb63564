package task

import "sync"

// goroutinePool is the goroutines that run handlers. Runs stand in a line, and a goroutine that is done with
// one takes the next. Before it calls a handler, which may block, it has another one come for the
// rest of the line: nobody waits behind a handler, and a thousand short ones need no thousand
// goroutines.
type goroutinePool struct {
	do func(*Run)

	mu      sync.Mutex
	line    []*Run
	first   int  // in line, that is not taken yet
	called  bool // one has been called and is not here yet
	idle    int
	closed  bool
	wake    sync.Cond // an idle one is called, or all are dismissed
	members sync.WaitGroup
}

// maxIdle bounds the goroutines that wait, and so the memory of their stacks.
const maxIdle = 1000

func newCrew(do func(*Run)) *goroutinePool {
	c := &goroutinePool{do: do}
	c.wake.L = &c.mu
	return c
}

// run has a run done by a goroutine.
func (c *goroutinePool) run(r *Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first > len(c.line)/2 {
		rest := copy(c.line, c.line[c.first:])
		clear(c.line[rest:])
		c.line, c.first = c.line[:rest], 0
	}
	c.line = append(c.line, r)
	c.call()
}

// call has a goroutine come for the line, unless one is on its way; c.mu is held.
func (c *goroutinePool) call() {
	if c.called || c.first == len(c.line) {
		return
	}
	c.called = true
	if c.idle > 0 {
		c.idle--
		c.wake.Signal()
		return
	}
	c.members.Go(c.serve)
}

// serve is a goroutine of the crew.
func (c *goroutinePool) serve() {
	for r := c.next(true); r != nil; r = c.next(false) {
		c.do(r)
	}
}

// next takes a run from the line, or waits for one; nil says to end. arrived is a goroutine that has
// been called.
func (c *goroutinePool) next(arrived bool) *Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if arrived {
		c.called = false
	}
	for c.first == len(c.line) {
		if c.closed || c.idle == maxIdle {
			return nil
		}
		c.idle++
		c.wake.Wait()
		if c.closed {
			return nil
		}
		c.called = false
	}
	r := c.line[c.first]
	c.line[c.first] = nil
	if c.first++; c.first == len(c.line) {
		c.line, c.first = c.line[:0], 0
	}
	c.call()
	return r
}

// dismiss ends the goroutines and waits for them. Nothing may be run any more.
func (c *goroutinePool) dismiss() {
	c.mu.Lock()
	c.closed = true
	c.wake.Broadcast()
	c.mu.Unlock()
	c.members.Wait()
}
