package execkind

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/lastcall-go/lastcall/task"
)

// lacking is the error of a run whose program has not begun because the server could not do its own
// part. It says what to do, if its error number tells, and pauses the kind on this worker.
func lacking(err error) error {
	errno, _ := errors.AsType[syscall.Errno](err)
	if what := remedies[errno]; what != "" {
		err = fmt.Errorf("%w: %s", err, what)
	}
	return task.PauseKind(err)
}

// noScratch is the error of a directory that could not be created in the temporary one.
func noScratch(err error) error {
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return fmt.Errorf("a run needs a directory of its own: %w: make room in the temporary directory, or name another one in TMPDIR", err)
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return fmt.Errorf("a run needs a directory of its own: %w", err)
	}
	return fmt.Errorf("a run needs a directory of its own: %w: make the temporary directory writable, or name another one in TMPDIR", err)
}

// remedies say what to do about an error of one of the server's own system calls.
var remedies = map[syscall.Errno]string{
	syscall.EMFILE: "the server may open no more files: raise its limit (ulimit -n, LimitNOFILE= of a unit), or lower its concurrency",
	syscall.ENFILE: "the machine may open no more files: raise fs.file-max, or look who has so many open",
	syscall.EAGAIN: "the server's user may start no more processes or threads: raise the limit (ulimit -u, TasksMax= of a unit, pids of a container), or lower its concurrency",
	syscall.ENOMEM: "the machine has no memory for another process: give it more, or lower the server's concurrency",
}

// notStarted is the error of a run whose program could not be started on this machine, though the
// configuration was good: every task of the kind would meet it.
func (k Kind) notStarted(err error) error {
	errno, _ := errors.AsType[syscall.Errno](err)
	what := remedies[errno]
	switch {
	case errno == syscall.E2BIG:
		what = fmt.Sprintf("its arguments and environment are too long: none may have more than %d bytes, and all together are bounded, too: write what is long to a file", MaxString())
	case what == "":
		what = k.whyNotStarted()
	}
	return task.PauseKind(fmt.Errorf("%s cannot be started: %w: %s", k.Path, err, what))
}
