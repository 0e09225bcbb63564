package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall"
)

// Run is one execution of a task, as its handler sees it. It is safe for concurrent use, and of no
// use after the handler has returned.
type Run struct {
	store  Store
	policy policy
	// cancel ends the handler's context with a cause.
	cancel   context.CancelCauseFunc
	stopping <-chan struct{}

	mu       sync.Mutex
	task     Task // as claimed; checkpoint, progress and counters as saved since
	progress *Progress
}

// ID is the task's.
func (r *Run) ID() string { return r.task.ID }

// Fence is the run's number. It is higher in every later run of the task, so that a handler's own
// conditional writes elsewhere ("where fence <= ?") can refuse those of a run that was taken for
// dead and was not.
func (r *Run) Fence() int64 { return r.task.Run }

// Load decodes the checkpoint of an earlier run into v and says whether there was one. After an
// error v may be partly set: return the error, and the checkpoint stays for a program that can read
// it.
func (r *Run) Load(v any) (bool, error) {
	r.mu.Lock()
	b := r.task.Checkpoint
	r.mu.Unlock()
	if b == nil {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("checkpoint of task %s cannot be read by this program: %w", r.task.ID, err)
	}
	return true, nil
}

// Save records a checkpoint, as JSON. When it has returned nil the checkpoint survives SIGKILL. A
// durable store needs a write to the disk for it, about a millisecond or some: save when losing the
// work since the last time costs more than that.
//
// It ignores a cancellation whose cause is an [lastcall.InterruptError] and ends with the reserve,
// so that the last write does not meet a dead context. An error that is ErrLeaseLost means that
// another run has begun: stop working.
func (r *Run) Save(ctx context.Context, v any) error {
	b, err := encodeCheckpoint(v)
	if err != nil {
		return err
	}
	wctx, release := writable(ctx)
	defer release()
	r.mu.Lock()
	defer r.mu.Unlock()
	c := Change{Fence: fenceOf(r.task), Status: Running, Checkpoint: b, Progress: r.progress,
		Counters: progressed(r.task.Counters, r.task.Checkpoint, b)}
	if err := r.store.Apply(wctx, []Change{c})[0]; err != nil {
		if errors.Is(err, ErrLeaseLost) {
			r.cancel(ErrLeaseLost)
		}
		return fmt.Errorf("task: save: %w", err)
	}
	r.task.Checkpoint, r.task.Counters, r.progress = b, c.Counters, nil
	return nil
}

// Interrupt returns the error by which a handler hands its task over: the worker records the
// checkpoint and the interruption together. It is ErrInterrupted.
func (r *Run) Interrupt(_ context.Context, v any) error {
	b, err := encodeCheckpoint(v)
	if err != nil {
		return err
	}
	return &interruptedError{checkpoint: b}
}

// Progress says how far the run is, from 0 to 1, with a word about it. It costs nothing: it is
// written with the next checkpoint, or within a second or so.
func (r *Run) Progress(fraction float64, message string) {
	if !(fraction > 0) { // NaN too
		fraction = 0
	}
	p := Progress{Fraction: min(fraction, 1), Message: storable(message, maxMessage)}
	r.mu.Lock()
	r.progress = &p
	r.mu.Unlock()
}

// Stopping says that last call has been made: the process will end. A handler that cannot be done
// in time does well to hand over now, with Interrupt; otherwise it may go on until its context
// ends.
func (r *Run) Stopping() bool { return closed(r.stopping) }

// flushProgress writes progress that no checkpoint has taken along. It does not wait for a Save
// that is under way, which takes the progress along itself.
func (r *Run) flushProgress(ctx context.Context) error {
	if !r.mu.TryLock() {
		return nil
	}
	defer r.mu.Unlock()
	if r.progress == nil {
		return nil
	}
	c := Change{Fence: fenceOf(r.task), Status: Running, Progress: r.progress, Counters: r.task.Counters}
	r.progress = nil
	return r.store.Apply(ctx, []Change{c})[0]
}

// end returns the task as it is now, and the progress not yet written.
func (r *Run) end() (Task, *Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.progress
	r.progress = nil
	return r.task, p
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

// writable returns a context for a write that must also be possible after an interrupt: it ends
// when ctx ends by another cause, and otherwise with the reserve.
func writable(ctx context.Context) (context.Context, context.CancelFunc) {
	last, release := lastWrite(ctx)
	wctx, cancel := context.WithCancelCause(last)
	var byInterrupt *lastcall.InterruptError
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.As(cause, &byInterrupt) {
			cancel(cause)
		}
	})
	return wctx, func() { stop(); cancel(nil); release() }
}

// lastWrite is lastcall.Last, and outside a group a context of five seconds that ignores ctx's end.
func lastWrite(ctx context.Context) (context.Context, context.CancelFunc) {
	if lastcall.Stopping(ctx) == nil {
		return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	}
	return lastcall.Last(ctx), func() {}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
