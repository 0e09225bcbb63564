//go:build !unix

package lastcall

import (
	"os"
	"syscall"
)

// A system without these signals has neither a terminal's hangup nor a signal
// after a freeze.
var (
	hangupSignal   os.Signal
	continueSignal os.Signal
	pipeSignal     os.Signal
	stopSignal     os.Signal
)

var moreSignalNames map[syscall.Signal]string
