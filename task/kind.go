package task

import (
	"math/rand/v2"
	"time"
)

// OnStop is when a stop reaches a running handler through its context.
type OnStop int

const (
	// FinishOnStop lets a run go on until the group's interrupt: it may well end by itself before
	// that.
	FinishOnStop OnStop = iota
	// InterruptOnStop ends the run's context at last call.
	InterruptOnStop
)

// Kind names a type of task and has its policy. T is the type of its payload, which is stored as
// JSON. The versions of the program that run side by side during a deploy must all be able to read
// it: docs/tasks.md describes how to change a payload.
type Kind[T any] struct {
	// Name consists of letters, digits and . _ - /, at most 100 of them.
	Name string
	// Queue is where its tasks wait unless EnqueueOptions name another queue. Empty means
	// DefaultQueue.
	Queue string
	// Timeout ends a run's context with the cause ErrTimeout. That is a failed attempt whose Error
	// begins with the cause, even when the handler handed over. 0 means no timeout.
	Timeout time.Duration
	// MaxRunTime is the time after which a run makes room for others. At its next Save after that
	// time, if another task waits that could have its slot, the checkpoint is recorded and the run's
	// context ends with the cause ErrTurn. If the handler then returns anything but success or a
	// permanent error, the task is queued again behind those that wait, with the reason turn; it uses
	// no attempt. While no such task waits the run goes on, as it does if only tasks of a lower
	// priority wait, and checks again at a save a second later. A SaveTx does not count as such a
	// save, because the worker does not know when its transaction is committed. 0 means no bound.
	MaxRunTime time.Duration
	// Concurrency bounds how many tasks of this kind a worker runs at once. 0 means the worker's own
	// bound.
	Concurrency int
	// OnStop is FinishOnStop unless set.
	OnStop OnStop
	// MaxAttempts is how many runs may end in the handler's error before the task has failed. 0 means
	// 5, -1 no limit.
	MaxAttempts int
	// MaxCrashes is how many times a worker's process may die during the task, without a new
	// checkpoint in between, before the task has failed. 0 means 5, -1 no limit.
	MaxCrashes int
	// MaxInterruptions is how many times a run may be interrupted, without a new checkpoint in
	// between, before the task has failed. 0 and -1 mean no limit; at the tenth the worker logs a
	// warning. With 0 the task nevertheless fails, at the tenth or a later one, if its handler is
	// unresponsive, or if it was the only suspect of a process that ended after last call before the
	// run was recorded.
	MaxInterruptions int
	// CancelOnDisconnect ends a run's context, with the cause ErrDisconnected, when its worker has
	// been unable to reach the store for most of its lease, and so before another worker may claim the
	// task. Without it the run goes on, and for a while a second run may go on at the same time; the
	// late writes of the first one are refused.
	CancelOnDisconnect bool
	// Backoff returns how long the task waits after its n-th failed attempt; n begins at 1. Nil means
	// a second, doubled each time, up to five minutes, with up to a fifth more or less at random.
	Backoff func(n int) time.Duration
	// Retention is how long ended tasks of the kind are kept, where it differs from the
	// WorkerConfig.Retention of the worker that removes them.
	Retention Retention
}

// Retention is how long ended tasks are kept, by how they ended. For each status, 0 means as long
// as WorkerConfig.Retention says, and -1 means for ever. A run gets the Retention of its kind when
// it is claimed, and the task gets it from the run at its end, whichever process records that end.
// A new version of the program with another Retention changes nothing for tasks that have ended. A
// task that is cancelled while it waits is kept as long as WorkerConfig.Retention says, since no
// worker that knows its kind had a part in it.
type Retention struct {
	// Succeeded, Failed and Cancelled are for tasks of that status.
	Succeeded, Failed, Cancelled time.Duration
}

// Of returns the value for a status, and 0 for a status that is not an end.
func (r Retention) Of(s Status) time.Duration {
	switch s {
	case StatusSucceeded:
		return r.Succeeded
	case StatusFailed:
		return r.Failed
	case StatusCancelled:
		return r.Cancelled
	}
	return 0
}

// EnqueueOptions are the options of a new task.
type EnqueueOptions struct {
	// ID makes enqueuing repeatable: one task of this id is created. A second Enqueue with the same
	// kind and payload returns it, with OutcomeExisting; with another kind or payload it returns
	// ErrIDConflict. Empty means a new id. The UUID of zeros alone is not valid.
	ID string
	// Priority orders claims: the higher number is claimed first. It is a signed 32-bit number, from
	// -2147483648 to 2147483647.
	Priority int
	// Delay is how long the task waits at least before its first claim.
	Delay time.Duration
	// StartBefore is how long the task may wait for its first claim, from now on by the store's clock.
	// A task that no worker has claimed by then never starts, and ends as cancelled, with the reason
	// expired. It must be longer than Delay. Once a task has been claimed the bound no longer applies,
	// however that run ends: handed over, waiting for the next attempt, or released. 0 means no bound.
	StartBefore time.Duration
	// Queue is where the task waits. Empty means the Queue of the Kind whose Enqueue or Prepare is
	// called. Client.Enqueue and Prepare know only the name of a kind, and use DefaultQueue.
	Queue string
	// Key makes the task the only unfinished one of its kind with that key. A second task with the key
	// is handled as its OnConflict says. That is not an error, and the result has the id of the task
	// that holds the key, no matter who added it. Once that task has ended, the key can be used for a
	// new one. Where an open transaction may hold the key, the error is ErrKeyBusy. At most 200 bytes.
	Key string
	// OnConflict decides what happens to the task when its Key is held. By default (Existing) nothing
	// is added and nothing changed, whatever its own payload and options are.
	OnConflict OnConflict
	// KeyFor holds the Key for that long after the task was added, by the store's clock, even when the
	// task has ended and been removed by then, unless it was removed by Client.Delete. Of two tasks
	// with the key, the KeyFor of the one that was added counts. 0 holds the Key until the task has
	// ended.
	KeyFor time.Duration
	// Meta is stored with the task and passed to its runs, for what is not the handler's input: a
	// trace id, a tenant, a user. [Client.Use] sets it for all tasks, [Run.Meta] and [Mux.Use] read
	// it, and Query.Meta finds tasks by it. At most MaxMeta pairs. A key consists of letters, digits
	// and . _ - /, at most 100 of them; a value is text of at most MaxMetaValue bytes without NUL. Two
	// tasks of one ID are the same whatever their Meta: a second Enqueue with another Meta returns the
	// first task, which keeps its own.
	Meta map[string]string
}

// EnqueueResult is the result of enqueuing one task.
type EnqueueResult struct {
	// ID is the id of the task that was added, or of the one that existed.
	ID string
	// Outcome is what the store did with the task, where Err is nil.
	Outcome Outcome
	// Err is nil, or why the task was not added: ErrKeyBusy, because an open transaction holds its key
	// or its id (enqueue it again), or ErrIDConflict. Only EnqueueMany sets it.
	Err error
}

// enqueued is the result for a store's answer.
func enqueued(a AddResult) EnqueueResult {
	switch {
	case a.Busy:
		return EnqueueResult{ID: a.ID, Err: ErrKeyBusy}
	case a.Conflict:
		return EnqueueResult{ID: a.ID, Err: ErrIDConflict}
	}
	return EnqueueResult{ID: a.ID, Outcome: a.Outcome}
}

// policy is a Kind without its type parameter, with its defaults filled in.
type policy struct {
	name            string
	timeout         time.Duration
	maxRunTime      time.Duration
	concurrency     int
	onStop          OnStop
	limits          Limits
	cutOff          bool // CancelOnDisconnect
	capUnresponsive bool // MaxInterruptions is not set
	backoff         func(n int) time.Duration
	retention       Retention
}

func (k Kind[T]) policy() (policy, error) {
	p := policy{
		name: k.Name, timeout: k.Timeout, maxRunTime: k.MaxRunTime, concurrency: k.Concurrency, onStop: k.OnStop,
		limits: Limits{MaxAttempts: orDefault(k.MaxAttempts, 5), MaxCrashes: orDefault(k.MaxCrashes, 5), MaxInterruptions: max(k.MaxInterruptions, -1)},
		cutOff: k.CancelOnDisconnect, capUnresponsive: k.MaxInterruptions == 0,
		backoff: k.Backoff, retention: k.Retention,
	}
	if p.backoff == nil {
		p.backoff = defaultBackoff
	}
	if err := checkName("kind", k.Name); err != nil {
		return p, err
	}
	if k.Queue != "" {
		if err := checkName("queue", k.Queue); err != nil {
			return p, err
		}
	}
	if k.Timeout < 0 || k.MaxRunTime < 0 || k.Concurrency < 0 {
		return p, invalid("kind %q: Timeout %v, MaxRunTime %v and Concurrency %d must not be negative", k.Name, k.Timeout, k.MaxRunTime, k.Concurrency)
	}
	return p, nil
}

// orDefault returns a limit: 0 means the default, and a negative number none (which stores keep as
// 0).
func orDefault(n, def int) int {
	switch {
	case n == 0:
		return def
	case n < 0:
		return 0
	}
	return n
}

// doubling waits for first after the first failure and twice as long after each further one, at
// most for limit.
func doubling(first, limit time.Duration) func(n int) time.Duration {
	return func(n int) time.Duration {
		d := first
		for ; n > 1 && d < limit; n-- {
			d *= 2
		}
		return min(d, limit)
	}
}

// jittered spreads waits, so that tasks that failed together do not come back together.
func jittered(wait func(n int) time.Duration) func(n int) time.Duration {
	return func(n int) time.Duration {
		d := wait(n)
		return d - d/5 + rand.N(2*d/5+1)
	}
}
