package task_test

import (
	"errors"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestPermanent_KeepsItsErrorAndNil(t *testing.T) {
	cause := errors.New("cause")
	if err := task.Permanent(cause); !errors.Is(err, cause) || !task.IsPermanent(err) || err.Error() != "cause" {
		t.Errorf("%v", err)
	}
	if task.Permanent(nil) != nil || task.IsPermanent(cause) {
		t.Error("nil is not nil, or everything is permanent")
	}
}

func TestCrashed_ACrashOfNothingIsNoError(t *testing.T) {
	if err := task.Crashed(nil); err != nil {
		t.Error(err)
	}
	if cause := errors.New("x"); !errors.Is(task.Crashed(cause), cause) {
		t.Error("the cause is not wrapped")
	}
}
