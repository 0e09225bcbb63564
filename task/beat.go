package task

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/internal/suspend"
)

// heartbeat keeps a worker registered: it renews the lease, announces the worker's state, and
// passes the replies to beats on to the runs. When the worker is marked dead, heartbeat gives it a
// new name, its next incarnation.
//
// What changes together has one lock: the name, the number of the beat, the announced state, and
// the times of beats, which begin again with a new name. The lock is held while the runs of a dead
// incarnation are cancelled, so that a run of the next incarnation never is. It is taken before the
// lock of the runSet, never after.
type heartbeat struct {
	store Store
	mux   *Mux
	runs  *runSet
	log   *slog.Logger
	name  string
	host  string
	lease time.Duration
	// queues and slots are the worker's, as the beats report them.
	queues []string
	slots  int
	// unresponsive returns the tasks of the unresponsive handlers, pauses has the paused kinds.
	unresponsive func() []string
	pauses       *pauses

	mu         sync.Mutex
	id         string // the present incarnation
	seq        uint64
	state      WorkerState
	renewed    time.Time     // since when every beat has succeeded; zero: the last one failed
	reached    time.Time     // when the last beat was answered
	slept      time.Duration // suspend.Total at that time
	ticked     time.Time     // when the last one was sent
	frozen     bool          // the process, or the machine, stood still
	unfamiliar []Task        // what the store has as ours, and was not in a beat that lists all runs
	restarted  bool          // the store's server has restarted, and may have lost ends of runs
}

// register begins the first incarnation.
func (h *heartbeat) register(ctx context.Context) error {
	h.mu.Lock()
	now := time.Now()
	h.id, h.seq, h.state = newID(), 0, WorkerRunning
	h.reached, h.ticked, h.renewed, h.slept = now, now, now, suspend.Total()
	h.mu.Unlock()
	return h.beat(ctx, WorkerRunning)
}

// run renews the lease until ctx ends. It calls each before every beat, and at least once a second.
func (h *heartbeat) run(ctx context.Context, each func()) {
	every := min(h.lease/5, time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	next := time.Now().Add(h.lease / 5)
	var failed bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		each()
		if !h.pauses.takeNews() && time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(h.lease / 5)
		err := h.beat(ctx, WorkerRunning)
		if err != nil && !failed && ctx.Err() == nil {
			h.log.Error("cannot renew the lease; trying again", "worker", h.incarnation(), "error", err)
		}
		failed = err != nil
	}
}

// beat sends a heartbeat that announces a state, and acts on the reply.
func (h *heartbeat) beat(ctx context.Context, state WorkerState) error {
	return h.send(ctx, h.next(state))
}

// leave sends the last beat. It gives that up before the group abandons the worker.
func (h *heartbeat) leave(ctx context.Context) error {
	last, release := lastWrite(ctx)
	defer release()
	last, giveUp := context.WithCancelCause(last)
	defer giveUp(nil)
	defer context.AfterFunc(ctx, func() {
		if reserveIsNearlyOver(ctx, last) {
			giveUp(errNoTimeToLeave)
		}
	})()
	return h.beat(last, WorkerStopped)
}

// send sends a beat and acts on the reply.
func (h *heartbeat) send(ctx context.Context, b Beat) error {
	reply, err := h.store.Heartbeat(ctx, b)
	if errors.Is(err, ErrWorkerGone) && b.Seq > 1 {
		return h.reregister(ctx, b)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.renewed = time.Time{}
		return err
	}
	h.reached, h.slept = time.Now(), suspend.Total()
	if h.renewed.IsZero() {
		h.renewed = h.reached
	}
	h.unfamiliar = append(h.unfamiliar, reply.Missing...)
	h.restarted = reply.Restarted
	h.passOn(reply)
	return nil
}

// passOn cancels the runs that a reply reports as lost, and passes on its commands.
func (h *heartbeat) passOn(reply BeatReply) {
	for _, f := range reply.Lost {
		if r := h.runs.find(f); r != nil {
			r.ctx.cancel(ErrLeaseLost)
		}
	}
	for _, c := range reply.Commands {
		r := h.runs.find(c.Fence)
		switch {
		case r == nil:
		case c.Verb == VerbCancel:
			r.ctx.cancel(ErrCancelled)
		case c.Verb == VerbInterrupt:
			r.ctx.cancel(ErrInterruptRequested)
		}
	}
}

// beatRuns bounds the runs that one beat asks about, so that a beat costs the same however many
// runs there are. A loss that the reply does not name is noticed by a later beat, or by the run's
// next write.
const beatRuns = 32

// next returns the next beat, with some of the runs. A worker that has announced its stop does not
// run again: a beat that another goroutine sends as usual announces the stop once more.
func (h *heartbeat) next(state WorkerState) Beat {
	kinds := h.mux.Kinds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	if state != WorkerRunning {
		h.state = state
	}
	now := time.Now()
	if h.ticked = now; now.Sub(h.reached) < h.lease {
		h.frozen = false
	}
	b := Beat{Worker: h.id, Name: h.name, Host: h.host, PID: os.Getpid(), Kinds: kinds, Queues: h.queues, Slots: h.slots, Lease: h.lease,
		Seq: h.seq, State: h.state, Unresponsive: h.unresponsive(), Paused: h.pauses.said()}
	b.Runs = h.runs.nextFences(beatRuns)
	slices.SortFunc(b.Runs, func(x, y Fence) int { return strings.Compare(x.Task, y.Task) })
	return b
}

// missing sends a beat that lists all runs, and returns the tasks that run according to the store
// but not here. No claim may be under way.
func (h *heartbeat) missing(ctx context.Context) ([]Task, error) {
	b := h.next(WorkerRunning)
	h.mu.Lock()
	b.ListsAllRuns, b.Runs, h.unfamiliar = true, h.runs.fences(), nil
	h.mu.Unlock()
	if err := h.send(ctx, b); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found := slices.DeleteFunc(h.unfamiliar, func(t Task) bool { return h.runs.find(fenceOf(&t)) != nil })
	h.unfamiliar = nil
	return found, nil
}

// storeRestarted reports whether the store may have lost what it had confirmed, so that the runs
// must be compared.
func (h *heartbeat) storeRestarted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.restarted
}

// reregister handles a worker that was marked dead: its runs are lost, and unless it is stopping it
// goes on as a new incarnation.
func (h *heartbeat) reregister(ctx context.Context, b Beat) error {
	h.mu.Lock()
	if h.id != b.Worker { // another goroutine was quicker
		h.mu.Unlock()
		return nil
	}
	for _, r := range h.runs.all() {
		r.ctx.cancel(ErrLeaseLost)
	}
	if b.State != WorkerRunning {
		h.mu.Unlock()
		return nil
	}
	h.id, h.seq, h.renewed = newID(), 0, time.Now()
	h.mu.Unlock()
	h.log.Warn("this worker was taken for dead and its tasks were given away; it goes on under a new name", "worker", b.Worker)
	return h.beat(ctx, WorkerRunning)
}

// cutOff ends the runs of kinds with CancelOnDisconnect, before another worker may claim them: when
// no beat has been answered for four fifths of the lease. The time for which the machine was
// suspended counts: the monotonic clock stands still meanwhile, and the lease does not.
func (h *heartbeat) cutOff() {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := h.lease - h.lease/5
	now := time.Now()
	asleep := suspend.Since(h.slept)
	if now.Sub(h.reached)+asleep < limit {
		return
	}
	cause := ErrDisconnected
	if gap := now.Sub(h.ticked); h.frozen || gap > limit || asleep > limit {
		h.frozen, cause = true, errFrozen
	}
	for _, r := range h.runs.all() {
		if r.policy.cutOff {
			r.ctx.cancel(cause)
		}
	}
}

// incarnation returns the name by which the store knows the worker now.
func (h *heartbeat) incarnation() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}

// renewedSince returns since when every beat has succeeded, zero when the last one failed.
func (h *heartbeat) renewedSince() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.renewed
}
