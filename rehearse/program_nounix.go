//go:build !unix

package rehearse

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
)

// errSystem: programs are stopped by signals.
var errSystem = fmt.Errorf("rehearse: a rehearsal stops a program by signals, which %s does not have: run it on Linux, for instance in WSL or a container: %w",
	runtime.GOOS, errors.ErrUnsupported)

func start(*Container, bool) (*program, error)    { return nil, errSystem }
func (*program) exec([]string) (*exec.Cmd, error) { return nil, errSystem }
func (*program) freeze()                          {}
func killGroup(int)                               {}
