package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall"
)

// WorkerConfig says what a worker does. Only Store and Mux are needed.
type WorkerConfig struct {
	// Store is where the tasks are; it stays the caller's to close, after Serve has returned.
	Store Store
	// Mux has the handlers. Only tasks of its kinds are claimed.
	Mux *Mux
	// Concurrency bounds how many handlers run at once. 0 means 10. While there is more to do than
	// can be done, and no handler takes longer than 50 ms, the worker claims ahead, at most 100
	// tasks, or Concurrency where that is more: they are running for everybody else, and given back
	// if no slot becomes free for them in about a second, or at last call.
	Concurrency int
	// Name is for people. Empty means the host's name.
	Name string
	// Lease is for how long the worker's beat may stand still before others take over its tasks,
	// where they cannot see that its process is dead. It beats five times as often. 0 means 15 s;
	// less than 1 s is refused.
	Lease time.Duration
	// Poll is how often the worker looks for tasks that nothing told it about. 0 means 250 ms. For
	// dead neighbours that nothing told it about it looks every six polls.
	Poll time.Duration
	// Queues are the only ones that the worker takes tasks from. None means every queue.
	Queues []string
	// Retention is for how long ended tasks are kept. 0 means 7 days, -1 for ever.
	Retention time.Duration
	// Observe, if set, is told when a run begins and when its end has been written, also that of a
	// dead worker's run which this worker has recorded: for metrics and traces. It is called by
	// many goroutines and must return soon.
	Observe func(Event)
	// Logger gets a line for each change of a task's status. Nil means slog.Default().
	Logger *slog.Logger
}

// Worker claims tasks and runs their handlers.
type Worker struct {
	store Store
	mux   *Mux
	name  string
	host  string
	slots int
	lease time.Duration
	poll  time.Duration
	log   *slog.Logger

	queues    []string
	retention time.Duration
	observer  func(Event)
	base      context.Context // of the runs
	lastCall  <-chan struct{}
	last      context.Context // what must also be possible after the interrupt

	kick chan struct{} // something may be claimable, or a slot is free
	gone chan struct{} // a neighbour's process may have ended

	mu       sync.Mutex
	id       string // the present incarnation
	seq      uint64
	state    WorkerState
	running  runSet
	called   bool           // last call has been made, and the runs know
	ahead    ahead          // slots, and runs that wait for one
	busy     map[string]int // runs of kinds that have a limit of their own
	suspects int            // running
	renewed  time.Time      // since when every beat has succeeded
	reached  time.Time      // when the last beat was answered
	ticked   time.Time      // when the last one was sent
	frozen   bool
	unlisted []Task               // runs of ours that we did not know of
	avoided  map[string]time.Time // tasks that others shall take, until when
	watching map[string]observation

	scratch    []Task // for the next claim
	crew       *goroutinePool
	handlers   sync.WaitGroup // runs whose end is not written
	recorder   recorder
	saver      saver
	unrecorded int
}

// NewWorker checks the configuration and returns a worker that does nothing until Serve is called.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	if cfg.Store == nil || cfg.Mux == nil {
		return nil, invalid("worker: Store and Mux must be set")
	}
	if cfg.Concurrency < 0 || cfg.Poll < 0 {
		return nil, invalid("worker: Concurrency %d and Poll %v must not be negative", cfg.Concurrency, cfg.Poll)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	w := &Worker{
		store: cfg.Store, mux: cfg.Mux, host: host,
		name:  cmp.Or(cfg.Name, host),
		slots: cmp.Or(cfg.Concurrency, 10),
		lease: cmp.Or(cfg.Lease, 15*time.Second),
		poll:  cmp.Or(cfg.Poll, 250*time.Millisecond),
		log:   cmp.Or(cfg.Logger, slog.Default()),
		kick:  make(chan struct{}, 1),
		gone:  make(chan struct{}, 1),
	}
	w.queues, w.observer = slices.Clone(cfg.Queues), cfg.Observe
	for _, q := range w.queues {
		if err := checkName("queue", q); err != nil {
			return nil, err
		}
	}
	if w.retention = cmp.Or(cfg.Retention, 7*24*time.Hour); w.retention < 0 {
		w.retention = 0
	}
	if w.lease < time.Second {
		return nil, invalid("worker: Lease %v is less than a second: a pause of the machine would look like a death", w.lease)
	}
	return w, nil
}

// Serve registers the worker and runs tasks until ctx ends. It is made for [lastcall.Group.Go]:
//
//   - At last call it announces the stop to the store and claims no more; what runs, runs on (or is
//     told at once, where its kind says so). When the last one has returned, Serve returns nil.
//   - At the interrupt the handlers' contexts end, with the [lastcall.InterruptError] as the cause.
//     Each handler's return is recorded, with reason and checkpoint, until the group abandons the
//     worker. Just before that, the tasks of those that have not returned are recorded as
//     interrupted by the deadline, claimable when the stop is over.
//   - Nil means that every run is recorded. An error means that some are not; the store still has
//     them as running, and the next worker takes them up as interrupted by the deadline.
//
// A handler that ignores its context keeps Serve from returning: the group abandons both and says
// so.
//
// Outside a group the end of ctx is both last call and interrupt. Serve may be called once.
func (w *Worker) Serve(ctx context.Context) error {
	lastCall := lastcall.LastCall(ctx)
	if lastCall == nil {
		lastCall = ctx.Done()
	}
	// last carries what must also be possible after the interrupt, until the group abandons the
	// worker.
	last := context.WithoutCancel(ctx)
	if lastcall.LastCall(ctx) != nil {
		last = lastcall.UntilAbandon(ctx)
	}
	last, release := context.WithCancel(last)
	defer release()
	w.base, w.lastCall, w.last = ctx, lastCall, last
	w.recorder = recorder{store: w.store, log: w.log, ctx: last, calls: &w.handlers, written: w.written, forget: w.forget}
	w.saver.store, w.saver.ctx = w.store, last
	w.crew = newCrew(w.run)
	if err := w.register(ctx); err != nil {
		return fmt.Errorf("task: register worker: %w", err)
	}
	untilLastCall, endClaims := context.WithCancel(last)
	defer endClaims()

	var helpers, watchers sync.WaitGroup
	helpers.Go(func() { w.beats(last) })
	helpers.Go(func() { w.recordDeaf(ctx, last) })
	watchers.Go(w.onLastCall)
	watchers.Go(func() { w.watch(untilLastCall) })
	watchers.Go(func() { w.listen(last, untilLastCall) })
	if w.retention > 0 {
		watchers.Go(func() { w.prunes(untilLastCall) })
	}

	w.claims(last, lastCall)
	endClaims()
	if err := w.beat(last, WorkerStopping); err != nil { // from now on a death is no crash
		w.log.Warn("stop not announced to the store", "worker", w.incarnation(), "error", err)
	} else {
		w.log.Info("stop announced to the store", "worker", w.incarnation())
	}
	watchers.Wait()
	w.handlers.Wait()
	w.saver.close() // no save comes after the last beat
	w.crew.dismiss()
	release() // no beat comes after the last one
	helpers.Wait()
	return w.leave(ctx)
}

// leave takes the worker off the store and says whether every run has been recorded.
func (w *Worker) leave(ctx context.Context) error {
	last, release := lastWrite(ctx)
	defer release()
	err := w.beat(last, WorkerStopped)
	if w.unrecorded > 0 {
		return fmt.Errorf("task: %d runs could not be recorded before the end; the next worker takes them up: look for the store's error above", w.unrecorded)
	}
	if err != nil {
		w.log.Warn("worker not removed from the store; others find out by themselves", "worker", w.id, "error", err)
	}
	return nil
}

// complainAgain is how often the log hears of a claim that fails as the one before did.
const complainAgain = time.Minute

// claims fills the free slots until last call.
func (w *Worker) claims(last context.Context, lastCall <-chan struct{}) {
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	var (
		failed  string
		said    time.Time
		backlog bool
		doubt   bool // an answer was lost: there may be runs that we do not know of
	)
	for !closed(lastCall) {
		if doubt && w.recover(last) == nil {
			doubt = false
		}
		if backlog {
			w.awaitBatch(lastCall)
		}
		// A claim is not cut short by last call: if its answer were lost, so would be its runs
		// until the process has ended.
		got, full, err := w.claim(last)
		if err != nil && (err.Error() != failed || time.Since(said) >= complainAgain) {
			said = time.Now()
			w.log.Error("cannot claim; trying again", "worker", w.incarnation(), "error", err)
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
		case <-w.kick:
		case <-tick.C:
		}
	}
	if doubt {
		if err := w.recover(last); err != nil {
			w.log.Warn("the answer of a claim was lost; what it gave is taken up by others", "worker", w.incarnation(), "error", err)
		}
	}
}

// gathering is how long a worker with a backlog waits for room for more than a few tasks, so that
// it claims many at once and not one by one.
const gathering = 5 * time.Millisecond

// awaitBatch returns when there is room for a batch, after a short time, or at last call.
func (w *Worker) awaitBatch(lastCall <-chan struct{}) {
	var late <-chan time.Time
	for {
		w.mu.Lock()
		enough := w.room() >= w.batch()
		w.mu.Unlock()
		if enough {
			return
		}
		if late == nil {
			late = time.After(gathering)
		}
		select {
		case <-w.kick:
		case <-late:
			return
		case <-lastCall:
			return
		}
	}
}

// maxScratch bounds the memory that a worker keeps for its next claim.
const maxScratch = 4096

// claim asks for as many tasks as there is room for and starts them.
func (w *Worker) claim(last context.Context) (got int, full bool, err error) {
	req := w.request()
	req.Into = w.scratch
	if req.Max == 0 || len(req.Kinds) == 0 {
		return 0, true, nil
	}
	began := time.Now()
	tasks, err := w.store.Claim(last, req)
	if errors.Is(err, ErrWorkerGone) { // taken for dead: the beat gives it a new name
		return 0, false, w.beat(last, WorkerRunning)
	}
	if err != nil {
		return 0, false, err
	}
	now := time.Now()
	full = len(tasks) == req.Max
	w.paced(now, now.Sub(began), full)
	for i := range tasks {
		w.start(&tasks[i], now)
	}
	if clear(tasks); cap(tasks) <= maxScratch {
		w.scratch = tasks
	}
	return len(tasks), full, nil
}

// request says what there is room for.
func (w *Worker) request() ClaimRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	req := ClaimRequest{Worker: w.id, Max: w.room(), Queues: w.queues, Suspect: w.suspects == 0}
	for id, until := range w.avoided {
		if time.Now().After(until) {
			delete(w.avoided, id)
			continue
		}
		req.Except = append(req.Except, id)
	}
	for _, name := range w.mux.Kinds() {
		e, _ := w.mux.lookup(name)
		room := req.Max
		if e.policy.concurrency > 0 {
			room = min(room, e.policy.concurrency-w.busy[name])
		}
		if room > 0 {
			req.Kinds = append(req.Kinds, KindClaim{Kind: name, Max: room, Caps: e.policy.caps})
		}
	}
	return req
}

// avoidFor is for how long a worker leaves a task to others that somebody asked it to hand over.
const avoidFor = 5 * time.Second

// avoid leaves a task to others for a while.
func (w *Worker) avoid(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.avoided == nil {
		w.avoided = make(map[string]time.Time)
	}
	w.avoided[id] = time.Now().Add(avoidFor)
}

// listen turns the store's wake-ups into kicks, and into a beat when something may have been asked
// of a run.
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
			_ = w.beat(last, w.currentState()) // the regular ones go on, and tell of errors
		}
		if now.Workers != seen.Workers {
			select {
			case w.gone <- struct{}{}:
			default:
			}
		}
		if now.Tasks != seen.Tasks {
			w.nudge()
		}
		seen = now
	}
}

// prunes removes old ended tasks: soon after the start, then now and then, and at no two workers at
// the same moment.
func (w *Worker) prunes(ctx context.Context) {
	for wait := time.Minute; pause(ctx, wait/2+rand.N(wait)); wait = 10 * time.Minute {
		for req := (PruneRequest{Age: w.retention, Clock: time.Now(), Max: 1000}); ; {
			done, err := w.store.Prune(ctx, req)
			if err != nil {
				if ctx.Err() == nil {
					w.log.Warn("old tasks not removed; trying again later", "error", err)
				}
				break
			}
			if req.After = done.Next; done.Next == "" || !pause(ctx, 50*time.Millisecond) {
				break
			}
		}
	}
}

func (w *Worker) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *Worker) incarnation() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id
}
