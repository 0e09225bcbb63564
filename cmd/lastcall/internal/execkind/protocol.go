package execkind

import (
	"errors"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
)

// ShimCommand is the program's first argument when it is started as a shim. It is no command for
// people.
const ShimCommand = "exec-shim"

// Server and shim exchange messages in gob, since arguments and environments are bytes and need not
// be UTF-8. Both are the same binary: the shim is started from the server's own file, even if
// another file has taken its name.
const (
	ordersFD  = 3 // read by the shim
	reportsFD = 4 // written by the shim
	lockFD    = 5 // held by the shim, if there is one
)

// order is what a server sends to its shim: first Start, and then Stop, perhaps more than once.
type order struct {
	Start *start
	Stop  *stop
}

// start is what to start. Standard input, output and error are the shim's own.
type start struct {
	Path string
	Argv []string
	Dir  string
	Env  []string
	// Scratch is the run's directory. The shim removes it if the server is gone.
	Scratch string
	// Isolation is the isolation of the shim. Confined is how the program is confined in addition.
	Isolation confine.Isolation
	Confined  confine.Program
	// Try starts no program, but finds out whether one could be started in this isolation.
	Try bool
}

// stop requests SIGTERM, unless it was sent already, and SIGKILL to the whole tree after a time.
type stop struct{ KillAfter time.Duration }

// failure reports an error. Of the error only its number can be compared by the server.
func failure(err error) report {
	errno, _ := errors.AsType[syscall.Errno](err)
	return report{Failed: err.Error(), Errno: errno}
}

// report is a message of the shim: Starting, Started or Failed, then Exit. The shim ends when the
// tree is gone.
type report struct {
	Starting bool   // from now on the program may run
	Started  int    // the program's process id
	Failed   string // why it could not be started
	Errno    syscall.Errno
	Exit     *proc.Exit
	// Trouble is something that the operator should know.
	Trouble string
}
