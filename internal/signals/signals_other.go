//go:build !unix

package signals

import (
	"os"
	"syscall"
)

// Signals that not every system has are nil.
var (
	Hangup   os.Signal
	Continue os.Signal
	Pipe     os.Signal
	Stop     os.Signal
)

var moreNames map[syscall.Signal]string
