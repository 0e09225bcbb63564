package task

import (
	"errors"
	"fmt"
	"time"
)

// The errors that callers distinguish, with errors.Is.
var (
	// ErrInterrupted marks a handler's error as "cut short, nothing went wrong". Without a stop it
	// is a failed attempt like any other error.
	ErrInterrupted = errors.New("task: interrupted")
	// ErrLeaseLost means that the run no longer belongs to this worker: whatever it would write comes
	// too late.
	ErrLeaseLost = errors.New("task: lease lost, the run belongs to somebody else")
	// ErrAlreadyFinished means that the run has been recorded with another outcome.
	ErrAlreadyFinished = errors.New("task: run already finished with another outcome")
	// ErrNotFound means that the store has no task with that id.
	ErrNotFound = errors.New("task: not found")
	// ErrWorkerGone means that this incarnation of a worker has been marked dead: the worker needs a
	// new one.
	ErrWorkerGone = errors.New("task: worker was taken for dead by another one")
	// ErrWorkerAlive means that a worker that was to be reclaimed shows signs of life.
	ErrWorkerAlive = errors.New("task: worker is alive")
	// ErrCancelled is the cause of a context whose task was cancelled.
	ErrCancelled = errors.New("task: cancelled")
	// ErrInterruptRequested is the cause of a context whose run has to hand over because a person has
	// requested it, with [Client.Interrupt].
	ErrInterruptRequested = errors.New("task: interruption requested")
	// ErrTurn is the cause of a context whose run has had the MaxRunTime of its kind, and has to hand
	// over because others wait for its slot.
	ErrTurn = errors.New("task: it is the turn of others")
	// ErrDisconnected is the cause of a context whose worker has not reached the store for most of its
	// lease: another worker may soon claim the task.
	ErrDisconnected = errors.New("task: store out of reach, another worker may take over soon")
	// ErrKeyBusy means that the key of a new task is held by a transaction that is still open, or by
	// another unfinished task.
	ErrKeyBusy = errors.New("task: key is busy")
	// ErrIDConflict means that the id of a new task belongs to a task of another kind or with another
	// payload: the new task was not recorded, and never will be under this id.
	ErrIDConflict = errors.New("task: id is another task's")
	// ErrHeldUp means that a transaction that is still open has saved or finished the run with
	// [Run.SaveTx] or [Run.FinishTx]: the write has to wait for its end.
	ErrHeldUp = errors.New("task: a transaction that is still open has the run")
	// ErrStoreFull means that the store has no room for more, and that nothing was recorded. What the
	// store has accepted is safe.
	ErrStoreFull = errors.New("task: the store has no room left")
	// ErrRunning and ErrNotRunning mean that a command does not fit the present status of the task.
	ErrRunning    = errors.New("task: is running")
	ErrNotRunning = errors.New("task: is not running")
	// ErrNotEnded means that a task cannot be deleted, since it waits or runs: cancel it first.
	ErrNotEnded = errors.New("task: has not ended")
	// ErrChanged means that a task has changed since it was read, or is gone: the command for all
	// tasks of a query was not applied to it.
	ErrChanged = errors.New("task: has changed since it was looked at")
	// ErrTimeout is the cause of a context that ended with its kind's Timeout.
	ErrTimeout = errors.New("task: timeout of the kind exceeded")
	// ErrPayload means that a payload cannot be decoded into the type of its kind, as described at
	// [Handle]. A handler that cannot read its payload may return it too.
	ErrPayload = errors.New("task: payload does not fit its kind")
	// ErrSteps means that the steps of this version of the program are not those that another version
	// has recorded, as described at [Step].
	ErrSteps = errors.New("task: recorded steps do not fit this version of the program")
	// ErrClosed means that the store has been closed.
	ErrClosed = errors.New("task: store is closed")
	// ErrInvalid means that a task, a kind or an option cannot be accepted as it is; the text has the
	// reason.
	ErrInvalid = errors.New("task: invalid")
	// ErrUnknownKind means that no handler is registered for a kind.
	ErrUnknownKind = errors.New("task: unknown kind")
)

// errFrozen is an ErrDisconnected because the process itself stood still.
var errFrozen = fmt.Errorf("%w: this process stood still", ErrDisconnected)

// Snooze returns the error by which a handler postpones its task: the task is queued again, uses up
// no attempt, and is claimed after d at the earliest.
func Snooze(d time.Duration) error { return &snoozeError{max(d, 0)} }

type snoozeError struct{ wait time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("put off for %v", e.wait) }

// Permanent wraps an error so that the task fails at once, because trying again would not help.
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

// Crashed wraps the error of a handler whose work was done in another process, when that process
// was killed and not by this program: perhaps by the kernel, for lack of memory. The run counts as
// a crash and not as an attempt, and MaxCrashes limits it. After a stop has begun, or when the
// context had ended, the error is treated as any other. Crashed(nil) is nil.
func Crashed(err error) error {
	if err == nil {
		return nil
	}
	return &crashError{err}
}

type crashError struct{ err error }

func (e *crashError) Error() string { return e.err.Error() }
func (e *crashError) Unwrap() error { return e.err }

// PanicError is the error that is recorded for a handler's panic: a failed attempt, which counts in
// Counters.Attempts like any other.
type PanicError struct {
	// Value is what the handler panicked with, Stack where it did.
	Value any
	Stack string
}

// Error returns the value and the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack) }

// invalid returns an error that is ErrInvalid and has the reason.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
