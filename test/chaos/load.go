//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

const (
	answerWithin = 30 * time.Second // after that the outcome of a call is unknown
	backlogTime  = 5 * time.Second  // as a time of load: that much may wait
)

// load asks the clients for work, one call at a time for each client.
type load struct {
	run  *run
	rate int // tasks per second, of all clients together
	call atomic.Int64

	mu     sync.Mutex
	plans  planner
	paused map[string]pauses // queues that are, or may be, paused
	ever   map[string]bool   // queues that were paused at any time
}

// pauses are the pause calls of a queue.
type pauses struct {
	last     int64 // the newest call when a pause was last answered
	underWay int   // without an answer yet
}

func newLoad(r *run) *load {
	rng := rand.New(rand.NewPCG(r.opt.seed, 1))
	return &load{run: r, rate: r.opt.rate, paused: make(map[string]pauses), ever: make(map[string]bool),
		plans: planner{rng: rng, inTx: r.opt.store == postgres, programs: r.opt.program != "", hostile: r.hostile != "", last: lastPoison(r.opt)}}
}

// lastPoison returns the last plan that may be a poison task, so that a run that is long enough
// leaves each of them the time until it is given up.
func lastPoison(opt options) int {
	const takes = 2 * time.Minute
	return int((opt.duration - takes).Seconds()) * opt.rate
}

// drive makes the calls of one client until ctx ends.
func (l *load) drive(ctx context.Context, s *slot, clients int, rng *rand.Rand) {
	const mean = 10 // tasks per call
	every := time.Duration(float64(time.Second) * mean * float64(clients) / float64(l.rate))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if l.run.progress.backlog() > l.rate*int(backlogTime/time.Second) {
			continue
		}
		l.ask(ctx, s, l.enqueue(rng, 1+rng.IntN(2*mean-1)))
		if c, ok := l.control(rng); ok {
			l.ask(ctx, s, c)
		}
	}
}

// enqueue returns a call that enqueues n tasks.
func (l *load) enqueue(rng *rand.Rand, n int) history.Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := history.Call{Op: history.Enqueue}
	if l.plans.inTx && rng.IntN(4) == 0 {
		c.Op, c.Commit, n = history.EnqueueTx, rng.IntN(5) > 0, min(n, 5)
	}
	for range n {
		c.Plans = append(c.Plans, l.plans.next())
	}
	return c
}

// control returns, now and then, a call other than an enqueue.
func (l *load) control(rng *rand.Rand) (c history.Call, ok bool) {
	switch n := rng.IntN(100); {
	case n < 6:
		c.Op = history.Cancel
	case n < 10:
		c.Op = history.Interrupt
	case n < 12:
		c.Op = history.Retry
	case n < 16:
		c.Op = history.Delete
	case n < 18:
		c.Op, c.Queue = history.Pause, fmt.Sprintf("shared-%d", rng.IntN(4))
		return c, true
	case n < 20:
		if !l.plans.can[wire.CanCommandAll] {
			return c, false
		}
		c.Op, c.Queue = []history.Op{history.CancelAll, history.RetryAll, history.DeleteAll}[rng.IntN(3)], fmt.Sprintf("shared-%d", rng.IntN(4))
		return c, true
	case n < 28:
		if some := l.pausedQueues(); len(some) > 0 {
			c.Op, c.Queue = history.Resume, some[rng.IntN(len(some))]
			return c, true
		}
		return c, false
	default:
		return c, false
	}
	c.Seq, c.TaskID = l.run.progress.pick(rng, c.Op)
	return c, c.TaskID != ""
}

func (l *load) pausedQueues() (some []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q := range l.paused {
		some = append(some, q)
	}
	slices.Sort(some)
	return some
}

// ask makes a client execute a call, and records the outcome.
func (l *load) ask(ctx context.Context, s *slot, c history.Call) history.Outcome {
	p, err := s.serving(ctx)
	if err != nil {
		return history.Refused // no client received it
	}
	c.ID, c.Process = l.call.Add(1), p.name
	l.run.rec.add(history.Event{Call: &c})
	if c.Op == history.Pause {
		l.pausing(c)
	}
	a := history.Answer{Call: c.ID, Outcome: history.Unknown}
	if err := p.peer.call(c); err != nil {
		a.Error = err.Error()
	} else {
		a = l.await(p, c.ID)
	}
	l.run.rec.add(history.Event{Answer: &a})
	l.learn(c, a)
	return a.Outcome
}

// await waits for a client's answer. A client that does not answer in time is killed, so that it
// cannot do anything later.
func (l *load) await(p *process, call int64) history.Answer {
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	for {
		select {
		case a := <-p.peer.answers:
			if a.Call == call {
				return a
			}
		case <-p.ended:
			select {
			case a := <-p.peer.answers: // its last answer
				if a.Call == call {
					return a
				}
			default:
			}
			return history.Answer{Call: call, Outcome: history.Unknown, Error: "the client has ended"}
		case <-timer.C:
			p.kill()
			return history.Answer{Call: call, Outcome: history.Unknown, Error: fmt.Sprintf("no answer within %v", answerWithin)}
		}
	}
}

// learn updates the state from the answer of a call.
func (l *load) learn(c history.Call, a history.Answer) {
	switch c.Op {
	case history.Enqueue, history.EnqueueTx:
		if c.Op == history.Enqueue || c.Commit {
			l.run.progress.enqueued(c.Plans, a)
		}
	case history.Cancel:
		if a.Outcome == history.Done {
			l.run.progress.ended(c.Seq)
		}
	case history.Resume:
		if a.Outcome == history.Done {
			l.resumed(c)
		}
	case history.Pause:
		l.hasPaused(c)
	case history.Delete:
		if a.Outcome == history.Done {
			l.run.progress.deleted(c.Seq)
		}
	case history.CancelAll:
		l.run.progress.endedAll(c.Queue) // also without an answer: it may be done
	case history.Retry, history.Interrupt, history.RetryAll, history.DeleteAll, history.PauseSchedule:
	}
}

// pausing notes the request of a pause, hasPaused that its answer came or will never come.
func (l *load) pausing(c history.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ever[c.Queue] = true
	p := l.paused[c.Queue]
	p.underWay++
	l.paused[c.Queue] = p
}

func (l *load) hasPaused(c history.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.paused[c.Queue]
	p.underWay, p.last = p.underWay-1, l.call.Load()
	l.paused[c.Queue] = p
}

// resumed notes that a queue was resumed. The queue may still be paused, by a call of another
// client at the same time.
func (l *load) resumed(c history.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.paused[c.Queue]; p.underWay == 0 && p.last < c.ID {
		delete(l.paused, c.Queue)
	}
}

// forgotten notes that the store may have lost what it had confirmed: each queue that was resumed
// may be paused again.
func (l *load) forgotten() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q := range l.ever {
		p := l.paused[q]
		p.last = l.call.Load()
		l.paused[q] = p
	}
}

// resumeAll resumes all queues that may be paused, and repeats that until none is left.
func (l *load) resumeAll(ctx context.Context, s *slot) error {
	for {
		some := l.pausedQueues()
		if len(some) == 0 {
			return nil
		}
		for _, q := range some {
			l.ask(ctx, s, history.Call{Op: history.Resume, Queue: q})
		}
		if !wire.Pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("queues are still paused: %v: %w", some, context.Cause(ctx))
		}
	}
}
