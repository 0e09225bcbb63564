package task

import (
	"context"
	"errors"
	"time"
)

// A run that has had its kind's MaxRunTime asks, when it has saved, whether a task waits for its
// slot. The claiming goroutine finds out by claiming one. That task is then at hand: it waits for
// the slot like one that was prefetched, and is released if the handler does not return soon. If
// there is none the run goes on, and asks again at a later save.

const (
	// turnEvery is how often a run asks, at most.
	turnEvery = time.Second
	// turnPatience is how long a save waits for the answer.
	turnPatience = time.Second
)

// turnQuestion is a run's question whether a task waits for its slot.
type turnQuestion struct {
	run    *Run
	answer chan bool // has room for it
}

// saved is called when a checkpoint of the run has been recorded, without r.mu. If the run has to
// make room for others, its context has ended when saved returns.
func (r *Run) saved(ctx context.Context) {
	most := r.policy.maxRunTime
	if most <= 0 || closed(r.stopping) || !r.asksForTurn(time.Now(), most) {
		return
	}
	if r.claims.othersWait(ctx, r) {
		r.ctx.cancel(ErrTurn)
	}
}

// asksForTurn reports whether it is time to ask, and records that.
func (r *Run) asksForTurn(now time.Time, most time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.started) < most || now.Sub(r.asked) < min(turnEvery, most) {
		return false
	}
	r.asked = now
	return true
}

// othersWait reports whether a task waits for the slot of a run, and is at hand. Without a timely
// answer, and at last call, it reports false.
func (c *claimer) othersWait(ctx context.Context, r *Run) bool {
	q := &turnQuestion{run: r, answer: make(chan bool, 1)}
	c.mu.Lock()
	c.questions = append(c.questions, q)
	c.mu.Unlock()
	c.nudge()
	late := time.NewTimer(turnPatience)
	defer late.Stop()
	select {
	case yes := <-q.answer:
		return yes
	case <-ctx.Done():
	case <-r.stopping:
	case <-late.C:
	}
	return false
}

// answerTurns answers the runs that ask whether others wait for their slots. An error is that of a
// claim.
func (c *claimer) answerTurns(last context.Context) error {
	for {
		c.mu.Lock()
		if len(c.questions) == 0 {
			c.mu.Unlock()
			return nil
		}
		q := c.questions[0]
		c.questions = c.questions[1:]
		c.mu.Unlock()
		yes, err := c.claimForTurn(last, q.run)
		q.answer <- yes
		if err != nil {
			return err
		}
	}
}

// claimForTurn claims a task for the slot of a run, unless there is none that may have it, and
// reports whether one waits now. It claims none of a lower priority: a task of low priority must
// not displace one of high priority.
func (c *claimer) claimForTurn(last context.Context, r *Run) (waits bool, err error) {
	kinds := c.slots.wantedForTurn(c.mux, r, time.Now())
	if len(kinds) == 0 {
		return false, nil
	}
	req := ClaimRequest{Worker: c.beats.incarnation(), Queues: c.queues, Max: 1, Kinds: kinds, MinPriority: &r.task.Priority}
	c.pauses.admit(&req, time.Now())
	c.except(&req)
	if len(req.Kinds) == 0 {
		return false, nil
	}
	tasks, err := c.store.Claim(last, req)
	if errors.Is(err, ErrWorkerGone) {
		return false, c.beats.beat(last, WorkerRunning)
	}
	if err != nil {
		return false, err
	}
	c.startAll(tasks, time.Now())
	return len(tasks) > 0 && c.slots.waits.Load(), nil // otherwise a slot has become free meanwhile
}

// wantedForTurn returns the kinds whose tasks may have the slot of a run. While other slots are
// free, only a task of the run's own kind can be held up by the run, if that kind has a limit.
// While slots are reserved for interrupted tasks no run makes room: its slot would be reserved too.
func (s *slots) wantedForTurn(mux *Mux, r *Run, now time.Time) (kinds []KindClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.kept(now) > 0 {
		return nil
	}
	room, _ := s.room(now)
	free := room > 0
	for _, name := range mux.Kinds() {
		e, _ := mux.lookup(name)
		limit, own := e.policy.concurrency, name == r.task.Kind
		left := limit - s.busy[name]
		if free && !(own && limit > 0 && left <= 0) {
			continue
		}
		if own {
			left++
		}
		if limit <= 0 || left > 0 {
			kinds = append(kinds, KindClaim{Kind: name, Max: 1, Limits: e.policy.limits, Retention: e.policy.retention})
		}
	}
	return kinds
}

// overbooked reports whether more runs of a kind have been claimed than may run at once. Those that
// wait are for the slots of other runs of the kind, which hand over. s.mu is held.
func (s *slots) overbooked(r *Run) bool {
	return r.policy.concurrency > 0 && s.busy[r.task.Kind] > r.policy.concurrency
}
