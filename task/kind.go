package task

import (
	"math/rand/v2"
	"time"
)

// OnStop says when a running handler hears of a stop through its context.
type OnStop int

const (
	// FinishOnStop lets a run go on until the group's interrupt: it may well end by itself before
	// that.
	FinishOnStop OnStop = iota
	// InterruptOnStop cancels the run's context at last call.
	InterruptOnStop
)

// Kind names a sort of task and carries its policy. T is the type of its payload, kept as JSON. It
// must be readable by the versions of the program that run side by side during a deploy:
// docs/tasks.md says how a payload changes.
type Kind[T any] struct {
	// Name is letters, digits and . _ - /, at most 100 of them.
	Name string
	// Queue is where its tasks wait unless EnqueueOptions say otherwise. Empty means DefaultQueue.
	Queue string
	// Timeout ends a run's context, with the cause ErrTimeout; that is a failed attempt, whose Error
	// begins with the cause, also when the handler handed over. 0 means no timeout.
	Timeout time.Duration
	// MaxRunTime is after which time a run makes room for others: at its next Save, if another task
	// waits that could have its slot. Its context then ends, once the checkpoint has been recorded,
	// with the cause ErrTurn. What its handler returns but success or a permanent error has the task
	// queued again, behind those that wait, for the reason turn; it is no attempt. While nobody waits,
	// and for tasks of a lower priority, the run goes on, and looks again at a save a second later. A
	// checkpoint of SaveTx is no such save: nobody knows when it is committed. 0 means that runs are
	// as long as they are.
	MaxRunTime time.Duration
	// Concurrency bounds how many tasks of this kind a worker runs at once. 0 leaves it to the
	// worker's own bound.
	Concurrency int
	// OnStop is FinishOnStop unless set.
	OnStop OnStop
	// MaxAttempts is how many runs may end in the handler's error before the task has failed. 0
	// means 5, -1 no end.
	MaxAttempts int
	// MaxCrashes is how many times a worker's process may die during the task, without a new
	// checkpoint in between, before it has failed. 0 means 5, -1 no end.
	MaxCrashes int
	// MaxInterruptions is how many times a run may be interrupted, without a new checkpoint in
	// between, before the task has failed. 0 and -1 mean no end; at the tenth the worker logs a
	// warning. With 0 the task fails at the tenth, or a later one, if its handler is unresponsive, or
	// if it was the one suspect of a process that ended after last call before the run was recorded.
	MaxInterruptions int
	// CancelOnDisconnect ends a run's context, with the cause ErrDisconnected, when its worker has
	// been unable to reach the store for most of its lease, and so before another worker may take
	// the task. Without it the run goes on, and a second one may run beside it for a while; its
	// late writes are refused.
	CancelOnDisconnect bool
	// Backoff says how long the task waits after its n-th failed attempt, n from 1. Nil means a
	// second, doubled each time, up to five minutes, and up to a fifth more or less at random.
	Backoff func(n int) time.Duration
	// Retention is for how long the kind's ended tasks are kept, where that is not for as long as
	// WorkerConfig.Retention of whichever worker removes them.
	Retention Retention
}

// Retention is for how long tasks are kept that have ended, by how they ended. For each, 0 means as
// long as others (WorkerConfig.Retention), -1 for ever. A run takes that of its kind along when it
// is claimed, and the task has it from its end on, whoever records that: a new version with another
// Retention changes nothing for those that have ended. A task that is cancelled while it waits is
// kept as long as others: no worker that knows its kind had a part in it.
type Retention struct {
	// Succeeded, Failed and Cancelled are for tasks of that status.
	Succeeded, Failed, Cancelled time.Duration
}

// Of returns the one for a status, 0 for those that are no end.
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

// EnqueueOptions are what else can be said about a new task.
type EnqueueOptions struct {
	// ID makes the enqueuing repeatable: a task of this id is made once, and a second Enqueue of the
	// same kind and payload returns it, with OutcomeExisting; with another one it is ErrIDConflict.
	// Empty means a new one. The UUID of zeros alone is none.
	ID string
	// Priority: the higher number is claimed first. It has 32 bits with their sign: from
	// -2147483648 to 2147483647.
	Priority int
	// Delay puts off the first claim.
	Delay time.Duration
	// StartBefore is for how long the task may wait for its first claim, from now on by the store's
	// clock: one that no worker has claimed by then never is, and ends as cancelled, with the reason
	// expired. It must be longer than Delay. What has been claimed once is not concerned, however that
	// run ends: not when it is handed over, waits for its next attempt, or is given back. 0 means for
	// as long as it takes.
	StartBefore time.Duration
	// Queue is where the task waits. Empty means the Queue of the Kind that enqueues or prepares it;
	// Client.Enqueue and Prepare know a kind's name alone, and take DefaultQueue.
	Queue string
	// Key makes the task the only unfinished one of its kind with that key. What comes of a second
	// one is for its OnConflict to say; it is no error, and the result has the id of the task that
	// has the key, whoever has added that. Once it has ended, the key makes a new one. Where an open
	// transaction may hold the key, the error is ErrKeyBusy. At most 200 bytes.
	Key string
	// OnConflict says what comes of the task when its Key is held. Without more (Existing) nothing is
	// added and nothing changed, whatever its own payload and options are.
	OnConflict OnConflict
	// KeyFor holds the Key for so long after the task was added, by the store's clock, also when the
	// task has ended and been removed by then, unless by Client.Delete. Of two tasks that of the one
	// that was added counts. 0 holds the Key until the task has ended.
	KeyFor time.Duration
	// Meta is kept with the task and given to its runs, for what is not the handler's input: a
	// trace's id, a tenant, a user. [Client.Use] sets it for all tasks, [Run.Meta] and [Mux.Use] read
	// it, and Query.Meta finds tasks by it. At most MaxMeta pairs; a key is letters, digits and
	// . _ - /, at most 100 of them, a value text of at most MaxMetaValue bytes without NUL. It is no
	// part of what makes two tasks of one ID the same: a second Enqueue with another Meta returns the
	// first one, which keeps its own.
	Meta map[string]string
}

// EnqueueResult is the outcome of enqueuing one task.
type EnqueueResult struct {
	// ID is the task's: of the one that was added, or of the one that was there before.
	ID string
	// Outcome is what came of it, where Err is nil.
	Outcome Outcome
	// Err is nil, or why the task was not added: ErrKeyBusy, since an open transaction holds its key
	// or its id (enqueue it again), or ErrIDConflict. Only EnqueueMany sets it.
	Err error
}

// enqueued is what a store has answered.
func enqueued(a AddResult) EnqueueResult {
	switch {
	case a.Busy:
		return EnqueueResult{ID: a.ID, Err: ErrKeyBusy}
	case a.Conflict:
		return EnqueueResult{ID: a.ID, Err: ErrIDConflict}
	}
	return EnqueueResult{ID: a.ID, Outcome: a.Outcome}
}

// policy is a Kind without its type, with its defaults filled in.
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

// orDefault is the rule for limits: 0 is the default, negative none (which stores keep as 0).
func orDefault(n, def int) int {
	switch {
	case n == 0:
		return def
	case n < 0:
		return 0
	}
	return n
}

// doubling waits first after the first failure and twice as long after each further one, at most
// limit.
func doubling(first, limit time.Duration) func(n int) time.Duration {
	return func(n int) time.Duration {
		d := first
		for ; n > 1 && d < limit; n-- {
			d *= 2
		}
		return min(d, limit)
	}
}

// jittered spreads waits, so that what failed together does not come back together.
func jittered(wait func(n int) time.Duration) func(n int) time.Duration {
	return func(n int) time.Duration {
		d := wait(n)
		return d - d/5 + rand.N(2*d/5+1)
	}
}
