package execkind

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

// tryAgain is the exit code that sysexits.h has for a failure that may pass (EX_TEMPFAIL).
const tryAgain = 75

// errKilled is the error of a program that did not end when it was asked to.
var errKilled = errors.New("did not end in time after SIGTERM, and was killed")

// fate is what is known about a program that has ended.
type fate struct {
	exit proc.Exit
	// cause is why the run's context had ended, nil if it had not.
	cause error
	// told is whether the program had been asked to end, by SIGTERM or by its stop file.
	told bool
	// complaint is the last line that it printed on standard error.
	complaint string
	// memory is the sentence about what the memory limit has killed, empty if it has killed nothing.
	memory string
}

// outcome is the error that the handler returns, nil for success. The worker adds what it knows:
// after a stop began, every error that is not permanent is an interruption.
func (k Kind) outcome(f fate) error {
	e := f.exit
	switch {
	case e.Signal == 0 && e.Code == 0:
		return nil
	case is[*tmpError](f.cause):
		return f.cause
	case e.Signal == 0 && slices.Contains(k.Permanent, e.Code):
		return task.Permanent(fmt.Errorf("%s, which is permanent", f))
	case errors.Is(f.cause, task.ErrTimeout):
		return errors.New(f.String()) // the worker adds that it was the timeout
	case e.Killed && e.Signal == syscall.SIGKILL && f.cause != nil:
		return fmt.Errorf("%w (killAfter is %v, and a stop may leave less)", errKilled, k.KillAfter)
	case f.cause != nil:
		return task.ErrInterrupted
	case e.Killed && e.Signal == syscall.SIGKILL:
		return task.Crashed(errors.New("the server killed it when it ended itself"))
	case e.Signal == syscall.SIGKILL:
		if f.memory != "" {
			return task.Crashed(errors.New(f.String()))
		}
		return task.Crashed(fmt.Errorf("%s, which was not lastcall's: perhaps the system was out of memory", f))
	case e.Code == tryAgain && !f.told:
		return task.Snooze(k.Backoff)
	case e.Code == 128+int(syscall.SIGKILL) && f.memory == "":
		return fmt.Errorf("%s: a shell says so when what it ran was killed by signal 9, perhaps because the system was out of memory", f)
	}
	return errors.New(f.String())
}

// is reports whether an error is of a type, or wraps one that is.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// String describes how the program ended, and what it printed last.
func (f fate) String() string {
	how := fmt.Sprintf("exit code %d", f.exit.Code)
	if f.exit.Signal != 0 {
		how = fmt.Sprintf("ended by signal %d (%v)", int(f.exit.Signal), f.exit.Signal)
	}
	if f.memory != "" {
		how += ": " + f.memory
	}
	if f.complaint != "" {
		how += ", its last words: " + f.complaint
	}
	return how
}
