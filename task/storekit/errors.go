package storekit

import (
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

// IsContractError reports whether err is one of the errors that the documentation of [task.Store]
// names. Callers tell them apart, so a store returns them as they are; all others are its own, and
// it adds its name to them.
func IsContractError(err error) bool {
	for _, known := range []error{
		task.ErrLeaseLost, task.ErrAlreadyFinished, task.ErrNotFound, task.ErrWorkerGone, task.ErrWorkerAlive,
		task.ErrKeyBusy, task.ErrIDConflict, task.ErrRunning, task.ErrNotRunning, task.ErrNotEnded, task.ErrChanged, task.ErrClosed, task.ErrInvalid,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// Full makes an error that is [task.ErrStoreFull] of the database's own, and keeps its text.
func Full(err error) error { return fullError{err} }

type fullError struct{ error }

// Is implements errors.Is.
func (fullError) Is(target error) bool { return target == task.ErrStoreFull }

// Unwrap is for package errors.
func (e fullError) Unwrap() error { return e.error }
