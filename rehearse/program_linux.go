package rehearse

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// isolation is how far a program is kept from the other processes.
type isolation int

const (
	// group: it leads a process group, below a process that gets its orphans.
	group isolation = iota
	// namespace: it is PID 1 of a PID namespace, as in a container.
	namespace
)

func (i isolation) String() string {
	if i == namespace {
		return "PID 1 of its own namespace"
	}
	return "in a process group, not PID 1: a signal without a handler ends it here, and would not in a container"
}

// program is the program that is rehearsed, while it runs.
type program struct {
	container *Container
	isolation isolation
	isGo      bool // it was built by Go, as its file says
	pid       int
	output    lastLines
	exited    chan struct{} // closed when it has ended
	endedAt   time.Time     // these belong to who has seen exited
	code      int
	signal    syscall.Signal

	// stop sends a signal to the program proper, as a container runtime does; nothing to one that
	// has ended.
	stop func(syscall.Signal) error
	// kill kills the program with all that it has started, and waits for its end.
	kill func(context.Context) error
}

// errNoNamespace: the system does not allow a PID namespace.
var errNoNamespace = errors.New("no PID namespace")

// self is the file of this process, whatever becomes of its name.
const self = "/proc/self/exe"

// start starts a program, as PID 1 of its own namespace where the system allows it and sharePIDs does
// not forbid it.
func start(c *Container, sharePIDs bool) (*program, error) {
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return nil, fmt.Errorf("rehearse: start %s: %w", c.Command[0], err)
	}
	_, err = buildinfo.ReadFile(path)
	isGo := err == nil
	p := &program{container: c, isolation: namespace, isGo: isGo, exited: make(chan struct{})}
	if err = errNoNamespace; !sharePIDs {
		err = p.startNamespaced(path)
	}
	if errors.Is(err, errNoNamespace) {
		p = &program{container: c, isolation: group, isGo: isGo, exited: make(chan struct{})}
		err = p.startSupervised(path)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// command is this program again, to become or to supervise another one.
func (p *program) command(how, path string) *exec.Cmd {
	c := p.container
	return &exec.Cmd{
		Path: self, Args: append([]string{how, path}, c.Command...),
		Dir: c.Dir, Env: append(os.Environ(), c.Env...), Stdout: &p.output, Stderr: &p.output,
		WaitDelay: time.Second, // what still has its output is not waited for
	}
}

// ended notes how the program has ended.
func (p *program) ended(code int, signal syscall.Signal) {
	p.endedAt, p.code, p.signal = time.Now(), code, signal
	if signal != 0 {
		p.code = 128 + int(signal)
	}
	close(p.exited)
}

// pids are the program's processes.
func (p *program) pids() []int {
	pids := []int{p.pid}
	below, err := proc.Descendants(p.pid)
	if err != nil {
		return pids
	}
	for _, one := range below {
		pids = append(pids, one.PID)
	}
	return pids
}

// handles reports whether the program proper has a handler for a signal, as the kernel has it.
func (p *program) handles(sig syscall.Signal) (handled, known bool) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/status")
	if err != nil {
		return false, false
	}
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte("SigCgt:")); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(string(mask)), 16, 64)
			return bits&(1<<(sig-1)) != 0, err == nil
		}
	}
	return false, false
}

// exec is a command of a hook or a probe: beside the program, in its namespaces, so that its kill 1
// means the program. It leads a process group.
func (p *program) exec(argv []string) (*exec.Cmd, error) {
	c := p.container
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	args := append([]string{path}, argv[1:]...)
	if p.isolation == namespace {
		enter, err := exec.LookPath("nsenter")
		if err != nil {
			return nil, fmt.Errorf("a command runs in the program's namespaces by nsenter, which is in the package util-linux: %w", err)
		}
		dir := c.Dir
		if dir == "" {
			if dir, err = os.Getwd(); err != nil {
				return nil, err
			}
		}
		into := []string{enter, "--target", strconv.Itoa(p.pid), "--pid", "--mount", "--wd=" + dir}
		if os.Geteuid() != 0 {
			into = append(into, "--user", "--preserve-credentials")
		}
		args = append(append(into, "--"), args...)
	}
	return &exec.Cmd{
		Path: args[0], Args: args, Dir: c.Dir, Env: append(os.Environ(), c.Env...), Stdout: &p.output, Stderr: &p.output,
		WaitDelay: time.Second, SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}, nil
}

// freeze stops all processes of the program, as a debugger does.
func (p *program) freeze() {
	for _, pid := range p.pids() {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
	}
}

// killGroup kills the group that a command leads, which was not waited for.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may have ended meanwhile
