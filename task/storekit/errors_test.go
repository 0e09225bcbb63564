package storekit_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

func TestIsContractError_TellsTheContractsErrorsFromAStoresOwn(t *testing.T) {
	for _, err := range []error{
		task.ErrLeaseLost, task.ErrAlreadyFinished, task.ErrNotFound, task.ErrWorkerGone, task.ErrWorkerAlive,
		task.ErrKeyBusy, task.ErrIDConflict, task.ErrRunning, task.ErrNotRunning, task.ErrNotEnded, task.ErrChanged, task.ErrClosed, task.ErrInvalid,
	} {
		if !storekit.IsContractError(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("%v is one", err)
		}
	}
	for _, err := range []error{nil, io.EOF, errors.New("task: not found"), task.ErrTimeout} {
		if storekit.IsContractError(err) {
			t.Errorf("%v is none", err)
		}
	}
}

func TestFull_IsTheStoresOwnErrorAndErrStoreFull(t *testing.T) {
	err := fmt.Errorf("store: %w", storekit.Full(io.ErrShortWrite))
	if !errors.Is(err, task.ErrStoreFull) || !errors.Is(err, io.ErrShortWrite) || errors.Is(err, task.ErrClosed) || err.Error() != "store: short write" {
		t.Error(err)
	}
}
