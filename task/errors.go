package task

import (
	"errors"
	"fmt"
	"time"
)

// The errors that callers tell apart, with errors.Is.
var (
	// ErrInterrupted marks a handler's error as "cut short, nothing went wrong". Without a stop it
	// is a failed attempt like any other error.
	ErrInterrupted = errors.New("task: interrupted")
	// ErrLeaseLost means that the run is no longer this worker's: whatever it would write comes too
	// late.
	ErrLeaseLost = errors.New("task: lease lost, the run belongs to somebody else")
	// ErrAlreadyFinished means that the run has been recorded with another outcome.
	ErrAlreadyFinished = errors.New("task: run already finished with another outcome")
	// ErrNotFound means that the store has no task of that id.
	ErrNotFound = errors.New("task: not found")
	// ErrWorkerGone means that this incarnation of a worker has been taken for dead: it needs a new
	// one.
	ErrWorkerGone = errors.New("task: worker was taken for dead by another one")
	// ErrWorkerAlive means that a worker that was to be reclaimed shows signs of life.
	ErrWorkerAlive = errors.New("task: worker is alive")
	// ErrCancelled is the cause of a context whose task was cancelled.
	ErrCancelled = errors.New("task: cancelled")
	// ErrInterruptRequested is the cause of a context whose run is to hand over because somebody has
	// asked for it, with [Client.Interrupt].
	ErrInterruptRequested = errors.New("task: interruption requested")
	// ErrTurn is the cause of a context whose run has had the MaxRunTime of its kind, and is to hand
	// over, since others wait for its slot.
	ErrTurn = errors.New("task: it is the turn of others")
	// ErrDisconnected is the cause of a context whose worker has not reached the store for so long
	// that another one may soon take over.
	ErrDisconnected = errors.New("task: store out of reach, another worker may take over soon")
	// ErrKeyBusy means that the key of a new task is in the hands of a transaction that is still
	// open, or of another unfinished task.
	ErrKeyBusy = errors.New("task: key is busy")
	// ErrIDConflict means that the id of a new task is another task's, of another kind or with another
	// payload: what was asked for was not recorded, and will not be under this id.
	ErrIDConflict = errors.New("task: id is another task's")
	// ErrHeldUp means that a transaction that is still open has saved or finished the run in its
	// [Run.SaveTx] or [Run.FinishTx]: what was to be written waits for its end.
	ErrHeldUp = errors.New("task: a transaction that is still open has the run")
	// ErrStoreFull means that the store has no room for more, and that nothing was recorded. What it
	// has accepted is safe.
	ErrStoreFull = errors.New("task: the store has no room left")
	// ErrRunning and ErrNotRunning mean that a command does not fit what the task does now.
	ErrRunning    = errors.New("task: is running")
	ErrNotRunning = errors.New("task: is not running")
	// ErrNotEnded means that a task cannot be deleted, since it waits or runs: cancel it first.
	ErrNotEnded = errors.New("task: has not ended")
	// ErrChanged means that a task is no longer what it was when it was looked at, or is gone: what
	// was asked of all tasks of a query was not done to it.
	ErrChanged = errors.New("task: has changed since it was looked at")
	// ErrTimeout is the cause of a context that ended with its kind's Timeout.
	ErrTimeout = errors.New("task: timeout of the kind exceeded")
	// ErrPayload means that a payload does not decode into the type of its kind, as [Handle] says. A
	// handler that cannot read its payload may return it too.
	ErrPayload = errors.New("task: payload does not fit its kind")
	// ErrSteps means that the steps of this version of the program are not those that another one has
	// recorded, as [Step] says.
	ErrSteps = errors.New("task: recorded steps do not fit this version of the program")
	// ErrClosed means that the store has been closed.
	ErrClosed = errors.New("task: store is closed")
	// ErrInvalid means that a task, a kind or an option cannot be accepted as it is; the text says
	// why.
	ErrInvalid = errors.New("task: invalid")
	// ErrUnknownKind means that no handler is registered for a kind.
	ErrUnknownKind = errors.New("task: unknown kind")
)

// errFrozen is ErrDisconnected by a process that stood still.
var errFrozen = fmt.Errorf("%w: this process stood still", ErrDisconnected)

// Snooze returns the error by which a handler puts its task off: it is queued again, uses up no
// attempt, and is claimed after d at the earliest.
func Snooze(d time.Duration) error { return &snoozeError{max(d, 0)} }

type snoozeError struct{ wait time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("put off for %v", e.wait) }

// Permanent wraps an error so that the task fails at once: trying again would not help.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err was made by Permanent, or wraps an error that was.
func IsPermanent(err error) bool {
	return is[*permanentError](err)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Crashed wraps the error of a handler whose work was done in another process, when that one was
// killed and nobody in this program did it: perhaps by the kernel for want of memory. The run
// counts as a crash and not as an attempt, and MaxCrashes limits it; after a stop has begun, and
// when the context had ended, it is what any other error is. Crashed(nil) is nil.
func Crashed(err error) error {
	if err == nil {
		return nil
	}
	return &crashError{err}
}

type crashError struct{ err error }

func (e *crashError) Error() string { return e.err.Error() }
func (e *crashError) Unwrap() error { return e.err }

// PanicError is what a handler's panic is recorded as: the error of a failed attempt, which counts
// in Counters.Attempts like any other.
type PanicError struct {
	// Value is what the handler panicked with, Stack where.
	Value any
	Stack string
}

// Error gives the value and the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack) }

// invalid returns an error that is ErrInvalid and says why.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
