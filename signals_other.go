//go:build !unix

package lastcall

import (
	"os"
	"syscall"
)

// These are nil: the system has none of these signals.
var (
	hangupSignal   os.Signal
	continueSignal os.Signal
	pipeSignal     os.Signal
	stopSignal     os.Signal
)

var moreSignalNames map[syscall.Signal]string
