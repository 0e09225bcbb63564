package task

import "sync"

// goroutinePool is the goroutines that call handlers. Runs wait in a queue, and a goroutine that
// has finished one takes the next. Before it calls a handler, which may block, it wakes another
// goroutine for the rest of the queue. So no run waits behind a handler, and a thousand short ones
// need no thousand goroutines.
type goroutinePool struct {
	do func(*Run)

	mu      sync.Mutex
	queue   []*Run
	first   int  // in queue, that is not taken yet
	called  bool // one has been called and is not here yet
	idle    int
	closed  bool
	wake    sync.Cond // an idle one is called, or all are dismissed
	members sync.WaitGroup
}

// maxIdle bounds the goroutines that wait, and so the memory of their stacks.
const maxIdle = 1000

func newPool(do func(*Run)) *goroutinePool {
	p := &goroutinePool{do: do}
	p.wake.L = &p.mu
	return p
}

// run has a run processed by a goroutine of the pool.
func (p *goroutinePool) run(r *Run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first > len(p.queue)/2 {
		rest := copy(p.queue, p.queue[p.first:])
		clear(p.queue[rest:])
		p.queue, p.first = p.queue[:rest], 0
	}
	p.queue = append(p.queue, r)
	p.call()
}

// call wakes a goroutine for the queue, unless one is on its way; p.mu is held.
func (p *goroutinePool) call() {
	if p.called || p.first == len(p.queue) {
		return
	}
	p.called = true
	if p.idle > 0 {
		p.idle--
		p.wake.Signal()
		return
	}
	p.members.Go(p.serve)
}

// serve is the body of a goroutine of the pool.
func (p *goroutinePool) serve() {
	for r := p.next(true); r != nil; r = p.next(false) {
		p.do(r)
	}
}

// next takes a run from the queue, or waits for one; nil means to end. arrived is set for a
// goroutine that was called.
func (p *goroutinePool) next(arrived bool) *Run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if arrived {
		p.called = false
	}
	for p.first == len(p.queue) {
		if p.closed || p.idle == maxIdle {
			return nil
		}
		p.idle++
		p.wake.Wait()
		if p.closed {
			return nil
		}
		p.called = false
	}
	r := p.queue[p.first]
	p.queue[p.first] = nil
	if p.first++; p.first == len(p.queue) {
		p.queue, p.first = p.queue[:0], 0
	}
	p.call()
	return r
}

// dismiss ends the goroutines and waits for them. run must not be called any more.
func (p *goroutinePool) dismiss() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.members.Wait()
}
