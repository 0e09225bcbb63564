package task

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// claimer claims tasks for the free slots until last call. One goroutine claims; any goroutine may
// call avoid and nudge.
type claimer struct {
	store  Store
	mux    *Mux
	queues []string
	poll   time.Duration
	log    *slog.Logger
	slots  *slots
	runs   *runSet
	beats  *heartbeat
	pauses *pauses
	start  func(*Task, time.Time) // takes a claimed task

	kick    chan struct{} // something may be claimable, or a slot is free
	scratch []Task        // memory for the next claim, of the goroutine that claims

	mu        sync.Mutex
	avoided   map[string]time.Time // tasks that are left to other workers, and until when
	questions []*turnQuestion      // whether others wait for the slot of a run
}

// logAgain is how often a claim is logged that fails with the same error as the one before.
const logAgain = time.Minute

// run claims until last call. last is the context of its calls, so that last call does not cut a
// claim short: if the answer were lost, its runs would be lost too until the process has ended.
func (c *claimer) run(last context.Context, lastCall <-chan struct{}) {
	tick := time.NewTicker(c.poll)
	defer tick.Stop()
	var (
		failed  string
		logged  time.Time
		backlog bool
		doubt   bool // an answer was lost: there may be runs that we do not know
	)
	for !closed(lastCall) {
		if (doubt || c.beats.storeRestarted()) && c.recover(last) == nil {
			doubt = false
		}
		if backlog {
			c.awaitBatch(lastCall)
		}
		err := c.answerTurns(last)
		var got int
		var full bool
		if err == nil {
			got, full, err = c.claim(last)
		}
		if err != nil && (err.Error() != failed || time.Since(logged) >= logAgain) {
			logged = time.Now()
			c.log.Error("cannot claim; trying again", "worker", c.beats.incarnation(), "error", err)
		}
		failed = ""
		if err != nil {
			failed, doubt = err.Error(), true
		}
		backlog = full
		if err == nil && got > 0 && !full {
			continue
		}
		select {
		case <-lastCall:
		case <-c.kick:
		case <-tick.C:
		}
	}
	if doubt {
		if err := c.recover(last); err != nil {
			c.log.Warn("the answer of a claim was lost; other workers will resume its tasks", "worker", c.beats.incarnation(), "error", err)
		}
	}
}

// gathering is how long a worker with a backlog waits until there is room for more than a few
// tasks, so that it claims many at once and not one by one.
const gathering = 5 * time.Millisecond

// awaitBatch returns when there is room for a batch, after a short time, or at last call.
func (c *claimer) awaitBatch(lastCall <-chan struct{}) {
	var late <-chan time.Time
	for !c.slots.roomForBatch() {
		if late == nil {
			late = time.After(gathering)
		}
		select {
		case <-c.kick:
		case <-late:
			return
		case <-lastCall:
			return
		}
	}
}

// maxScratch bounds the memory that a worker keeps for its next claim.
const maxScratch = 4096

// claim claims as many tasks as there is room for and starts them.
func (c *claimer) claim(last context.Context) (got int, full bool, err error) {
	req := c.request()
	if req.Max == 0 || len(req.Kinds) == 0 {
		return 0, req.Max == 0, nil
	}
	began := time.Now()
	tasks, err := c.store.Claim(last, req)
	if errors.Is(err, ErrWorkerGone) { // marked dead: the beat gives it a new name
		return 0, false, c.beats.beat(last, WorkerRunning)
	}
	if err != nil {
		return 0, false, err
	}
	now := time.Now()
	full = len(tasks) == req.Max || req.Interrupted // then there is no room for others
	if !req.Interrupted {
		var some [maxInspected]*Run
		c.slots.claimed(now, now.Sub(began), full, c.runs.appendFirst(some[:0]))
	}
	c.startAll(tasks, now)
	if clear(tasks); cap(tasks) <= maxScratch {
		c.scratch = tasks
	}
	return len(tasks), full, nil
}

// startAll starts claimed tasks. Suspects come first: they get the free slots.
func (c *claimer) startAll(tasks []Task, now time.Time) {
	for _, suspects := range []bool{true, false} {
		for i := range tasks {
			if tasks[i].Suspect() == suspects {
				c.start(&tasks[i], now)
			}
		}
	}
}

// request returns a claim for the room that there is. Its parts are read one after the other: the
// room can only grow meanwhile, and a claim with a name that the worker no longer has gets nothing.
func (c *claimer) request() ClaimRequest {
	req := ClaimRequest{Worker: c.beats.incarnation(), Queues: c.queues, Into: c.scratch}
	if req.Max, req.Interrupted, req.Kinds = c.slots.wanted(c.mux, time.Now()); !req.Interrupted {
		req.Suspects, req.Suspicion = c.slots.wantedSuspects()
	}
	c.pauses.admit(&req, time.Now())
	c.except(&req)
	return req
}

// except leaves out the tasks that are reserved for other workers.
func (c *claimer) except(req *ClaimRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, until := range c.avoided {
		if time.Now().After(until) {
			delete(c.avoided, id)
			continue
		}
		req.Except = append(req.Except, id)
	}
}

// recover finds the runs of a claim whose answer was lost, and runs whose end the store has lost,
// and starts them. The claiming goroutine calls it, so no claim is under way.
func (c *claimer) recover(last context.Context) error {
	missing, err := c.beats.missing(last)
	c.startAll(missing, time.Now())
	return err
}

// avoidFor is how long a worker leaves a task to others after a person has requested its handover.
const avoidFor = 5 * time.Second

// avoid leaves a task to other workers for a while.
func (c *claimer) avoid(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.avoided == nil {
		c.avoided = make(map[string]time.Time)
	}
	c.avoided[id] = time.Now().Add(avoidFor)
}

// nudge reports that something may be claimable, or that a slot is free.
func (c *claimer) nudge() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}
