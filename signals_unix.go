//go:build unix

package lastcall

import (
	"os"
	"syscall"
)

var (
	hangupSignal   os.Signal = syscall.SIGHUP
	continueSignal os.Signal = syscall.SIGCONT
	pipeSignal     os.Signal = syscall.SIGPIPE
	stopSignal     os.Signal = syscall.SIGSTOP
)

var moreSignalNames = map[syscall.Signal]string{
	syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2", syscall.SIGCONT: "SIGCONT",
	syscall.SIGSTOP: "SIGSTOP", syscall.SIGTSTP: "SIGTSTP", syscall.SIGWINCH: "SIGWINCH",
}
