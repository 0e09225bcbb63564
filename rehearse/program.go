package rehearse

import (
	"context"
	"debug/buildinfo"
	"errors"
	"strings"
	"syscall"
	"time"
)

// isolation is how far a program is isolated from other processes.
type isolation int

const (
	// group: the program leads a process group, below a process that kills what is left of it.
	group isolation = iota
	// namespace: the program is PID 1 of a PID namespace, as in a container.
	namespace
)

func (i isolation) String() string {
	if i == namespace {
		return "PID 1 of its own namespace"
	}
	return "in a process group, not PID 1: a signal without a handler ends it here, and would not in a container" + outlives
}

// where describes how far the program is isolated from other processes, and from this machine.
func (p *program) where() string {
	switch im := p.container.Image; {
	case im == nil:
		return p.isolation.String()
	case im.Name != "":
		return "PID 1 of its own namespaces, with the files of the image " + im.Name + " alone"
	}
	return "PID 1 of its own namespaces, with the image's files alone"
}

// program is the rehearsed program while it runs.
type program struct {
	container *Container
	isolation isolation
	isGo      bool // its file was built by Go
	startedAt time.Time
	pid       int
	output    lastLines
	exited    chan struct{} // closed when it has ended
	drained   chan struct{} // closed when its output has ended
	endedAt   time.Time     // these may be read once exited is closed
	code      int
	signal    syscall.Signal

	// stop sends a signal to the program's main process, as a container runtime does. It does nothing
	// if that has exited.
	stop func(syscall.Signal) error
	// kill kills the program with everything that it has started, and waits for its end.
	kill func(context.Context) error
}

// newProgram returns a program that is started next.
func newProgram(c *Container, i isolation) *program {
	return &program{container: c, isolation: i, startedAt: time.Now(), exited: make(chan struct{}), drained: make(chan struct{})}
}

// errNoNamespace: the system does not allow a PID namespace.
var errNoNamespace = errors.New("no PID namespace")

// builtByGo reports whether a program's file was built by Go.
func builtByGo(path string) bool {
	_, err := buildinfo.ReadFile(path)
	return err == nil
}

// ended records how the program has ended.
func (p *program) ended(code int, signal syscall.Signal) {
	p.endedAt, p.code, p.signal = time.Now(), code, signal
	if signal != 0 {
		p.code = 128 + int(signal)
	}
	close(p.exited)
}

// runtimeHandles reports whether the program's runtime has handlers of its own, so that handlers of
// the program itself cannot be told apart.
func (p *program) runtimeHandles() bool {
	name := p.runtime()
	return p.isGo || name == "node" || name == "java" || strings.HasPrefix(name, "ruby")
}
