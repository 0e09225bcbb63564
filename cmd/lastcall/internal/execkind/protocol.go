package execkind

import (
	"errors"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
)

// ShimCommand is the program's first argument when it is to be a shim. It is no command for people.
const ShimCommand = "exec-shim"

// What server and shim say to each other is encoded with gob, since arguments and environments are
// bytes and need not be UTF-8. Both are the same binary: the shim is started from the server's own
// file even if another one has taken its name.
const (
	ordersFD  = 3 // read by the shim
	reportsFD = 4 // written by the shim
	lockFD    = 5 // held by the shim, if there is one
)

// order is what a server tells its shim: at first Start, and then Stop, perhaps more than once.
type order struct {
	Start *start
	Stop  *stop
}

// start says what to start. Standard input, output and error are the shim's own.
type start struct {
	Path string
	Argv []string
	Dir  string
	Env  []string
	// Scratch is the run's directory, which the shim removes when the server is gone.
	Scratch string
	// Isolation is where the shim is, and Confined how the program is confined besides.
	Isolation confine.Isolation
	Confined  confine.Program
	// Try asks for no program: only whether one could be started in this isolation.
	Try bool
}

// stop asks for SIGTERM, if it was not yet sent, and for SIGKILL to the whole tree after a time.
type stop struct{ KillAfter time.Duration }

// failure is the report of an error, whose number is the only thing of it that others can ask for.
func failure(err error) report {
	errno, _ := errors.AsType[syscall.Errno](err)
	return report{Failed: err.Error(), Errno: errno}
}

// report is what a shim tells: Starting, Started or Failed, then Exit; then it ends when the tree is
// gone.
type report struct {
	Starting bool   // from now on the program may run
	Started  int    // the program's process id
	Failed   string // why it could not be started
	Errno    syscall.Errno
	Exit     *proc.Exit
	// Trouble is something that the operator should know.
	Trouble string
}
