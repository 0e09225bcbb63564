package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/safelog"
)

// WorkerConfig configures a worker. Only Store and Mux are required.
type WorkerConfig struct {
	// Store has the tasks. The caller closes it, after Serve has returned; the worker never does.
	Store Store
	// Mux has the handlers. Only tasks of its kinds are claimed.
	Mux *Mux
	// Concurrency bounds how many handlers run at once. 0 means 10.
	//
	// While there is more work than slots, and no handler takes longer than 50 ms, the worker
	// prefetches at most 100 tasks, or Concurrency if that is more. For everybody else these are
	// running. They are released if no slot becomes free for them in about a second, or at last call.
	//
	// In a rollout a quarter of the slots, and at least one, takes interrupted tasks only: for two
	// seconds after the start of a worker that is not the only one, and while others stop, on the
	// youngest of those that go on.
	Concurrency int
	// SpareSlots is how many more handlers may run at once while as many others are unresponsive. A
	// handler that goes on 10 s after its context has ended keeps its slot until it returns. 0 means
	// none.
	SpareSlots int
	// Name is for people. Empty means the host's name. Two workers of one group need different names:
	// the group's report has a note for each, which counts its tasks by how they ended in the stop.
	Name string
	// Lease is how long the worker's beat may stand still before others take over its tasks, where
	// they cannot see that its process is dead. The worker sends five beats in that time. Less
	// than 1 s is refused; 0 means 15 s.
	Lease time.Duration
	// Poll is how often the worker polls the store for tasks of which no notification came. 0 means
	// 250 ms. The PostgreSQL store answers from what it found in the last second; Client.Wake reports
	// new tasks to it. Every six polls the worker checks for dead neighbours of which no notification
	// came.
	Poll time.Duration
	// Queues are the queues from which the worker claims tasks. None means every queue.
	Queues []string
	// Retention is how long ended tasks are kept whose Kind has no Retention. 0 means 7 days, -1 for
	// ever. A worker removes the tasks of all kinds and queues, so if workers have different
	// Retentions the shortest counts.
	Retention time.Duration
	// Version is the version of the program, for the records of steps: see ErrSteps. Empty means the
	// version of the build: the main module's or, if there is none, the revision. Only the first 100
	// bytes are kept.
	Version string
	// Observe, if set, is called when a run begins and when its end has been written, for metrics and
	// traces. It is also called for a dead worker's run whose end this worker has recorded. Many
	// goroutines call it, and it must return soon. Its context has the values of the runs' contexts,
	// and ends with the worker.
	Observe func(context.Context, Event)
	// Logger gets a line for each change of a task's status. Nil means slog.Default().
	Logger *slog.Logger
}

// Worker claims tasks and runs their handlers.
//
// It consists of parts, each with a promise and, where several goroutines use it, a lock of its
// own:
//
//   - The claimer asks the store for tasks.
//   - The slots decide for how many, and when their handlers are called.
//   - The runSet has the runs that have not ended.
//   - The pool has the goroutines that call handlers.
//   - The saver and the recorder write what runs save, and their ends.
//   - The detector finds handlers that do not return.
//   - The pauses are of kinds that cannot run here now.
//   - The heartbeat keeps the worker registered.
//   - The watcher monitors the other workers.
//   - The pruner removes what is old.
type Worker struct {
	store    Store
	mux      *Mux
	log      *slog.Logger
	observer observer
	version  string

	base     context.Context // of the runs
	lastCall <-chan struct{}
	last     context.Context             // what must also be possible after the interrupt
	bases    map[string]*labelledContext // base by kind, with its label

	claims   claimer
	claiming <-chan struct{} // closed when the last claim has been answered
	slots    slots
	runs     runSet
	beats    heartbeat
	detector detector
	pauses   pauses
	watcher  watcher
	pruner   pruner
	pool     *goroutinePool
	saver    saver
	recorder recorder

	handlers   sync.WaitGroup // runs whose end is not written
	unrecorded atomic.Int64   // runs whose end could not be written
	tally      tally          // of the runs that ended in a stop
	tasksOf    string         // the name of the note about it
	// storeGivenUp: the store did not answer in a stop until its last moment.
	storeGivenUp atomic.Bool
}

// NewWorker checks the configuration and returns a worker that does nothing until Serve is called.
// The caller closes the store, after Serve has returned.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	if cfg.Store == nil || cfg.Mux == nil {
		return nil, invalid("worker: Store and Mux must be set")
	}
	if cfg.Concurrency < 0 || cfg.SpareSlots < 0 || cfg.Poll < 0 {
		return nil, invalid("worker: Concurrency %d, SpareSlots %d and Poll %v must not be negative", cfg.Concurrency, cfg.SpareSlots, cfg.Poll)
	}
	for _, q := range cfg.Queues {
		if err := checkName("queue", q); err != nil {
			return nil, err
		}
	}
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Second)
	if cfg.Lease < time.Second {
		return nil, invalid("worker: Lease %v is less than a second: a pause of the machine would look like a death", cfg.Lease)
	}
	return newWorker(cfg), nil
}

// newWorker puts the parts together.
func newWorker(cfg WorkerConfig) *Worker {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	log, poll := safelog.New(cfg.Logger), cmp.Or(cfg.Poll, 250*time.Millisecond)
	w := &Worker{store: cfg.Store, mux: cfg.Mux, log: log, observer: observer{observe: cfg.Observe, log: log}}
	w.version = storable(cmp.Or(cfg.Version, builtVersion()), maxName)
	w.tasksOf = "tasks"
	if cfg.Name != "" {
		w.tasksOf = "tasks of " + cfg.Name
	}
	w.slots.limit, w.slots.spare = cmp.Or(cfg.Concurrency, 10), cfg.SpareSlots
	w.detector = detector{log: log, observer: &w.observer, slots: &w.slots}
	w.pauses.log = log
	w.beats = heartbeat{store: w.store, mux: w.mux, runs: &w.runs, log: log, name: cmp.Or(cfg.Name, host), host: host, lease: cfg.Lease,
		queues: slices.Clone(cfg.Queues), slots: w.slots.limit, unresponsive: w.detector.named, pauses: &w.pauses}
	w.claims = claimer{store: w.store, mux: w.mux, queues: slices.Clone(cfg.Queues), poll: poll, log: log,
		slots: &w.slots, runs: &w.runs, beats: &w.beats, pauses: &w.pauses, start: w.start, kick: make(chan struct{}, 1)}
	w.watcher = watcher{store: w.store, poll: poll, log: log, beats: &w.beats, observer: &w.observer, slots: &w.slots,
		nudge: w.claims.nudge, gone: make(chan struct{}, 1)}
	w.pruner = pruner{store: w.store, mux: w.mux, retention: max(0, cmp.Or(cfg.Retention, 7*24*time.Hour)), log: log}
	w.pool = newPool(w.run)
	return w
}

// Serve registers the worker and runs tasks until ctx ends. It is meant for [lastcall.Group.Go]:
//
//   - At last call it announces the stop to the store and claims no more. Running handlers go on;
//     if their kind has InterruptOnStop, their contexts end at once. When the last one has
//     returned, Serve returns nil.
//   - At the interrupt the handlers' contexts end, with the [lastcall.InterruptError] as the cause.
//     The end of each handler that returns is recorded, with reason and checkpoint, until the group
//     abandons the worker. Just before that, the tasks of those that have not returned are recorded
//     as interrupted by the deadline, claimable when the stop is over.
//   - Nil means that every run is recorded. An error means that some are not, as when the store did
//     not answer until just before the group would have abandoned the worker. The store still has
//     those as running, and the next worker resumes them as interrupted by the deadline.
//
// A handler that ignores its context keeps Serve from returning: the group abandons both and
// reports that.
//
// Outside a group the end of ctx is both last call and interrupt. Serve may be called once. It does
// not close the store: close it after Serve has returned, in a group with [lastcall.Group.Defer].
func (w *Worker) Serve(ctx context.Context) error {
	lastCall := lastcall.LastCall(ctx)
	if lastCall == nil {
		lastCall = ctx.Done()
	}
	// last is for what must be possible even after the interrupt, until the group abandons the worker.
	last := context.WithoutCancel(ctx)
	if lastcall.LastCall(ctx) != nil {
		last = lastcall.UntilAbandon(ctx)
	}
	last, release := context.WithCancel(last)
	defer release()
	w.base, w.lastCall, w.last, w.observer.ctx = ctx, lastCall, last, last
	w.bases = make(map[string]*labelledContext)
	w.recorder = recorder{store: w.store, log: w.log, ctx: last, calls: &w.handlers, written: w.written, forget: w.forget}
	w.saver.store, w.saver.log, w.saver.ctx, w.saver.cleared = w.store, w.log, last, w.clearSuspect
	if err := w.beats.register(ctx); err != nil {
		return fmt.Errorf("task: register worker: %w", err)
	}
	w.watcher.begin(last)
	untilLastCall, endClaims := context.WithCancel(last)
	defer endClaims()
	w.claiming = untilLastCall.Done()

	var helpers, watchers sync.WaitGroup
	helpers.Go(func() { w.beats.run(last, w.housekeep) })
	helpers.Go(func() { w.recordUnresponsive(ctx, last, release) })
	watchers.Go(w.onLastCall)
	watchers.Go(func() { w.watcher.run(untilLastCall) })
	watchers.Go(func() { w.listen(last, untilLastCall) })
	watchers.Go(func() { w.pruner.run(untilLastCall) })

	w.claims.run(last, lastCall)
	endClaims()
	if err := w.beats.beat(last, WorkerStopping); err != nil { // from now on a death is no crash
		w.log.Warn("stop not announced to the store", "worker", w.beats.incarnation(), "error", err)
	} else {
		w.log.Info("stop announced to the store", "worker", w.beats.incarnation())
	}
	watchers.Wait()
	w.handlers.Wait()
	w.saver.close() // no save comes after the last beat
	w.pool.dismiss()
	release() // no beat comes after the last one
	helpers.Wait()
	w.detector.dumps.Wait()
	return w.leave(ctx)
}

// leave removes the worker from the store, and returns an error unless every run has been recorded.
func (w *Worker) leave(ctx context.Context) error {
	err := errNoTimeToLeave
	left, limited := lastcall.TimeLeft(ctx)
	if late := ctx.Err() != nil && limited && left < leaveMargin; !late && !w.storeGivenUp.Load() {
		err = w.beats.leave(ctx)
	}
	n := w.unrecorded.Load()
	switch {
	case n > 0 && w.storeGivenUp.Load():
		w.log.Error("handlers have returned; the store did not answer", "unrecorded", n, "worker", w.beats.incarnation())
		return fmt.Errorf("task: handlers have returned; the store did not answer, and %d runs are not recorded: the next worker takes them up", n)
	case n > 0:
		return fmt.Errorf("task: %d runs could not be recorded before the end; the next worker takes them up: look for the store's error above", n)
	}
	if err != nil {
		w.log.Warn("worker not removed from the store; others find out by themselves", "worker", w.beats.incarnation(), "error", err)
	}
	return nil
}

// leaveMargin is the last part of a stop, before the group abandons the worker, in which the worker
// asks the store for nothing more.
const leaveMargin = 100 * time.Millisecond

// errNoTimeToLeave is why a worker asks the store for nothing just before the group abandons it: a
// store does not end a call that it has begun.
var errNoTimeToLeave = errors.New("the stop is nearly over")

// listen turns the store's notifications into claims, into a check of the neighbours, and into a
// beat when a run may have a command.
func (w *Worker) listen(last, ctx context.Context) {
	var seen Generations
	for ctx.Err() == nil {
		now, err := w.store.Wait(ctx, seen)
		if err != nil {
			if errors.Is(err, ErrClosed) || !pause(ctx, time.Second) {
				return
			}
			continue // the polling goes on
		}
		if seen.Commands != 0 && now.Commands != seen.Commands {
			_ = w.beats.beat(last, WorkerRunning) // the regular ones go on, and tell of errors
		}
		if now.Workers != seen.Workers {
			w.watcher.notice()
		}
		if now.Tasks != seen.Tasks {
			w.claims.nudge()
		}
		seen = now
	}
}

// housekeep does what is due about every second.
func (w *Worker) housekeep() {
	runs := w.runs.all()
	for _, r := range runs {
		r.saveUnsaved()
	}
	w.detector.look(time.Now(), runs)
	w.beats.cutOff()
	w.giveBackWaiting(maxWait)
}

// onLastCall ends the contexts of the runs whose kinds have InterruptOnStop when last call comes. A
// run that is not in the list of runs is entered later, and then finds the slots closed.
func (w *Worker) onLastCall() {
	<-w.lastCall
	w.slots.close()
	runs := w.runs.all()
	w.giveBackWaiting(0)
	cause := w.lastCallCause()
	for _, r := range runs {
		r.atLastCall(cause)
	}
}

// claimPatience bounds how long what a stop has interrupted is not recorded since a claim is under
// way.
const claimPatience = 250 * time.Millisecond

// awaitLastClaim waits for a claim that was under way at last call. Otherwise it could claim what
// the stop has interrupted, and the task would have to be given back before another worker gets it.
func (w *Worker) awaitLastClaim() {
	if closed(w.claiming) {
		return
	}
	select {
	case <-w.claiming:
	case <-time.After(claimPatience):
	}
}

// lastCallCause returns the cause of contexts that end at last call.
func (w *Worker) lastCallCause() *lastcall.InterruptError {
	left, _ := lastcall.TimeLeft(w.base)
	return &lastcall.InterruptError{Until: time.Now().Add(left)}
}
