package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Run is one execution of a task, as its handler sees it. It is safe for concurrent use, and must
// not be used after the handler has returned.
type Run struct {
	store    Store
	saver    *saver
	claims   *claimer
	policy   *policy
	handle   Handler
	ctx      runContext
	stopping <-chan struct{}

	task  Task // Save changes its Checkpoint and Counters, under mu
	place int  // in the worker's runSet

	mu       sync.Mutex
	progress *Progress
	log      tail
	sending  *save // what was sent last, until its answer has been noted
	result   []byte
	steps    steps
	version  string      // of the program
	inTx     bool        // FinishTx has been called
	inDoubt  bool        // SaveTx has been called since it was known which checkpoint is recorded
	stepInTx bool        // StepTx has been called since a step was recorded
	decided  atomic.Bool // its outcome is decided
	claimed  time.Time
	started  time.Time // zero while it waits for a slot
	asked    time.Time // when it last asked whether others wait for its slot
	suspect  bool      // its slot counts as a suspect's; guarded by the slots' lock

	// The detector's notes, which one goroutine uses: since when the context has ended, its cause, and
	// whether it was reported that the handler still runs.
	contextOver time.Time
	overBy      string
	reported    bool
}

// Task returns the task as it was claimed, with what has been saved since. A checkpoint of SaveTx
// is included once Load has asked the store.
func (r *Run) Task() Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.task
}

// fence names the run.
func (r *Run) fence() Fence { return fenceOf(&r.task) }

// ID returns the task's id.
func (r *Run) ID() string { return r.task.ID }

// Meta returns the value of a key in the task's Meta, empty if there is none.
func (r *Run) Meta(key string) string { return r.task.Meta[key] }

// FencingToken returns the run's number. It is higher in every later run of the task. With it a
// handler's own conditional writes elsewhere ("where fence <= ?") can refuse those of a run that
// was wrongly taken for dead.
func (r *Run) FencingToken() int64 { return r.task.Run }

// Load decodes the recorded checkpoint, of an earlier run or of this one, into v and reports
// whether there is one. After an error v may be partly set: return the error, and the checkpoint
// stays for a program that can read it.
//
// After SaveTx, Load asks the store what was committed. It waits up to five seconds for a
// transaction that is still open.
func (r *Run) Load(v any) (bool, error) {
	b, err := r.checkpoint()
	if err != nil {
		return false, fmt.Errorf("task: load: %w", err)
	}
	if b == nil {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("checkpoint of task %s cannot be read by this program: %w", r.task.ID, err)
	}
	return true, nil
}

// Save records a checkpoint, as JSON. Once it has returned nil the checkpoint survives SIGKILL. A
// durable store needs a write to the disk for that, which takes one or a few milliseconds: save
// when losing the work since the last checkpoint would cost more.
//
// Saves of many runs share a write: a thousand at once cost about as much as a few.
//
// After the interrupt Save still works with the context that has ended, so that the handler can
// return: it ignores an end whose cause is a [lastcall.InterruptError], and gives up only just
// before the group abandons its goroutines.
//
// While the store cannot be reached Save waits and tries again, at least every two seconds, until
// one of these:
//
//   - The context ends by another cause than an interrupt: the Timeout of the kind, a cancellation,
//     a deadline of the caller's. To wait for less, pass a context with a timeout.
//   - The group is about to abandon its goroutines: half a second before, or after half of the time
//     that the interrupt has left, whichever is later. Outside a group Save waits for five seconds.
//
// The error is then that cause, or the store's last error. The checkpoint is not recorded or, if it
// was on its way, may be. Meanwhile the run's other methods that read or change saved state wait as
// well.
//
// Save is not part of a transaction that the handler has open: the checkpoint is recorded at once,
// and stays when the transaction is rolled back. The checkpoint is then ahead of the rows, and no
// run does the work in between. Use SaveTx for that, or save after the transaction has been
// committed; a crash between the two then repeats that work. While a transaction with a SaveTx of
// this run is open, Save waits for about two seconds and then returns ErrHeldUp.
//
// If the run has had its kind's MaxRunTime and others wait for its slot, its context has ended when
// Save returns nil, with the cause ErrTurn.
//
// An error that is ErrLeaseLost means that the run belongs to another worker by now: stop working.
func (r *Run) Save(ctx context.Context, v any) error {
	b, err := encodeCheckpoint(v)
	if err != nil {
		return err
	}
	if err := r.record(ctx, b, nil); err != nil {
		return fmt.Errorf("task: save: %w", err)
	}
	return nil
}

// record sends a checkpoint or a step to the store, and waits for the store as described at Save.
func (r *Run) record(ctx context.Context, checkpoint []byte, step *StepRecord) error {
	wctx, release := writable(ctx)
	defer release()
	if err := r.save(wctx, checkpoint, step); err != nil {
		return err
	}
	r.saved(wctx)
	return nil
}

// save sends a checkpoint, and tries again while the store cannot be reached.
func (r *Run) save(wctx context.Context, checkpoint []byte, step *StepRecord) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.trySave(wctx, checkpoint, step)
		if err == nil {
			r.stepInTx = r.stepInTx && step == nil
			return nil
		}
		// The handler may be waiting for itself.
		itself := (r.inDoubt || r.stepInTx) && errors.Is(err, ErrHeldUp)
		if itself && wait >= 800*time.Millisecond || !savedLater(err) || !pause(wctx, wait) {
			return err
		}
	}
}

// savedLater reports whether a save that failed with err may succeed later.
func savedLater(err error) bool {
	return again(err) && !errors.Is(err, ErrInvalid) && !errors.Is(err, errOver)
}

// HandOver returns the error by which a handler hands its task over to a later run. Return it, and
// the worker records the checkpoint v and the interruption together; nothing is written before the
// handler has returned. The error is ErrInterrupted. When v cannot be encoded, or has more than
// MaxCheckpoint bytes, the error gives that reason and is not ErrInterrupted.
func (r *Run) HandOver(v any) error {
	b, err := encodeCheckpoint(v)
	if err != nil {
		return err
	}
	return &interruptedError{checkpoint: b}
}

// SetProgress sets how far the run is, from 0 to 1, with a short message. It costs nothing: it is
// written with the next checkpoint, or within about a second.
func (r *Run) SetProgress(fraction float64, message string) {
	if !(fraction > 0) { // NaN too
		fraction = 0
	}
	p := Progress{Fraction: min(fraction, 1), Message: storable(message, maxMessage)}
	r.mu.Lock()
	r.progress = &p
	r.mu.Unlock()
}

// Log adds a line to the task's log, which is for people; its last MaxLog bytes are kept. The line
// is written within about a second, and at the latest with the end of the run; a SIGKILL loses that
// second. Once the handler has returned Log does nothing. Use Logger for lines with a level and
// attributes.
func (r *Run) Log(line string) {
	if r.ctx.over.Load() {
		return
	}
	r.mu.Lock()
	r.log.add(storable(line, MaxLog/2) + "\n")
	r.mu.Unlock()
}

// SetResult sets the result that the task keeps when it has succeeded, as JSON. The last call
// counts.
func (r *Run) SetResult(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("task: result: %w", err)
	}
	if len(b) > MaxResult {
		return fmt.Errorf("task: result has %d bytes, at most %d are kept: save a file's name instead of its content", len(b), MaxResult)
	}
	r.mu.Lock()
	r.result = b
	r.mu.Unlock()
	return nil
}

// Stopping reports whether last call has been made: the process will end. A handler that cannot end
// in time should hand over now, with HandOver; otherwise it may go on until its context ends.
func (r *Run) Stopping() bool { return closed(r.stopping) }

// close fills in the decided end of the run, from the task as it is now, with what is not yet
// written.
func (r *Run) close(e *ending, c *Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recall(); r.sending != nil {
		select {
		case <-r.sending.done: // it comes before the end, which would have it refused
		case <-time.After(callPatience):
		}
		r.settle()
	}
	c.decide(&r.task, r.policy, e)
	c.Progress, c.Log = r.progress, r.log.take()
	if c.Status == StatusSucceeded {
		c.Result = r.result
	}
}

type interruptedError struct{ checkpoint []byte }

func (e *interruptedError) Error() string   { return "interrupted, checkpoint handed over" }
func (e *interruptedError) Is(t error) bool { return t == ErrInterrupted }

func encodeCheckpoint(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("task: checkpoint: %w", err)
	}
	if len(b) > MaxCheckpoint {
		return nil, fmt.Errorf("task: checkpoint has %d bytes, at most %d are kept: save a file's name and position instead of its content", len(b), MaxCheckpoint)
	}
	return b, nil
}
