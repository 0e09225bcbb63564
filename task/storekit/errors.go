package storekit

import (
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

// IsContractError reports whether err is one of the errors that the documentation of [task.Store]
// names. Callers distinguish those, so a store returns them unchanged. To all other errors, which
// are its own, a store adds its name.
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

// Full returns a database's error as one that is [task.ErrStoreFull], with its text.
func Full(err error) error { return fullError{err} }

type fullError struct{ error }

// Is implements errors.Is.
func (fullError) Is(target error) bool { return target == task.ErrStoreFull }

// Unwrap returns the database's error.
func (e fullError) Unwrap() error { return e.error }
