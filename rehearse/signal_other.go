//go:build unix && !linux

package rehearse

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
)

// numbersHere are the numbers of signals on this system, by those on Linux. A 0 is a signal that
// does not exist here.
var numbersHere = [lastRealTime + 1]syscall.Signal{
	1: syscall.SIGHUP, 2: syscall.SIGINT, 3: syscall.SIGQUIT, 4: syscall.SIGILL, 5: syscall.SIGTRAP, 6: syscall.SIGABRT, 7: syscall.SIGBUS,
	8: syscall.SIGFPE, 9: syscall.SIGKILL, 10: syscall.SIGUSR1, 11: syscall.SIGSEGV, 12: syscall.SIGUSR2, 13: syscall.SIGPIPE, 14: syscall.SIGALRM,
	15: syscall.SIGTERM, 17: syscall.SIGCHLD, 18: syscall.SIGCONT, 19: syscall.SIGSTOP, 20: syscall.SIGTSTP, 21: syscall.SIGTTIN, 22: syscall.SIGTTOU,
	23: syscall.SIGURG, 24: syscall.SIGXCPU, 25: syscall.SIGXFSZ, 26: syscall.SIGVTALRM, 27: syscall.SIGPROF, 28: syscall.SIGWINCH, 29: syscall.SIGIO,
	31: syscall.SIGSYS,
}

// here returns the number that a signal of Linux has on this system, and onLinux the opposite.
func here(s syscall.Signal) syscall.Signal { return numbersHere[s] }

func onLinux(s syscall.Signal) syscall.Signal {
	if s == 0 {
		return 0
	}
	return syscall.Signal(max(slices.Index(numbersHere[:], s), 0))
}

// sendable returns an error if this system does not have a signal.
func sendable(s syscall.Signal) error {
	if s < 0 || int(s) >= len(numbersHere) || numbersHere[s] == 0 {
		return fmt.Errorf("rehearse: %s does not have %s: run it on Linux, for instance in a container: %w", runtime.GOOS, signalName(s), errors.ErrUnsupported)
	}
	return nil
}
