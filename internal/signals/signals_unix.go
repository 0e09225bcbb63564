//go:build unix

package signals

import (
	"os"
	"syscall"
)

// Signals that not every system has.
var (
	Hangup   os.Signal = syscall.SIGHUP
	Continue os.Signal = syscall.SIGCONT
	Pipe     os.Signal = syscall.SIGPIPE
	Stop     os.Signal = syscall.SIGSTOP
)

var moreNames = map[syscall.Signal]string{
	syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2", syscall.SIGCONT: "SIGCONT",
	syscall.SIGSTOP: "SIGSTOP", syscall.SIGTSTP: "SIGTSTP", syscall.SIGWINCH: "SIGWINCH",
}
