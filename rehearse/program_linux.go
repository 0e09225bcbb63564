package rehearse

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// isolation is how far a program is isolated from other processes.
type isolation int

const (
	// group: the program leads a process group, below a process that adopts its orphans.
	group isolation = iota
	// namespace: the program is PID 1 of a PID namespace, as in a container.
	namespace
)

func (i isolation) String() string {
	if i == namespace {
		return "PID 1 of its own namespace"
	}
	return "in a process group, not PID 1: a signal without a handler ends it here, and would not in a container"
}

// where describes how far the program is isolated from other processes, and from this machine.
func (p *program) where() string {
	if p.container.Image != nil {
		return "PID 1 of its own namespaces, with the image's files alone"
	}
	return p.isolation.String()
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

// newProgram returns a program that is about to be started.
func newProgram(c *Container, i isolation, isGo bool) *program {
	return &program{container: c, isolation: i, isGo: isGo, startedAt: time.Now(), exited: make(chan struct{}), drained: make(chan struct{})}
}

// errNoNamespace: the system does not allow a PID namespace.
var errNoNamespace = errors.New("no PID namespace")

// self is the file of this process, even if that has been renamed or removed.
const self = "/proc/self/exe"

// start starts a program, as PID 1 of its own namespace if the system allows it and sharePIDs does
// not forbid it.
func start(c *Container, sharePIDs bool) (*program, error) {
	if c.Image != nil {
		return startImage(c)
	}
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return nil, fmt.Errorf("rehearse: start %s: %w", c.Command[0], err)
	}
	isGo := builtByGo(path)
	p := newProgram(c, namespace, isGo)
	if err = errNoNamespace; !sharePIDs {
		err = p.startNamespaced(path)
	}
	if errors.Is(err, errNoNamespace) {
		p = newProgram(c, group, isGo)
		err = p.startSupervised(path)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// startImage starts the program of an image, which always needs namespaces.
func startImage(c *Container) (*program, error) {
	p := newProgram(c, namespace, false)
	if err := p.startNamespaced(""); errors.Is(err, errNoNamespace) {
		return nil, fmt.Errorf("rehearse: an image's program needs namespaces, and this system does not allow them: %w: "+
			"run this as root, or allow user namespaces to all (sysctl user.max_user_namespaces; kernel.apparmor_restrict_unprivileged_userns and "+
			"kernel.unprivileged_userns_clone on Ubuntu and Debian); within a container it takes a privileged one", err)
	} else if err != nil {
		return nil, err
	}
	p.isGo = builtByGo("/proc/" + strconv.Itoa(p.pid) + "/exe")
	return p, nil
}

// builtByGo reports whether a program's file was built by Go.
func builtByGo(path string) bool {
	_, err := buildinfo.ReadFile(path)
	return err == nil
}

// command returns a command that executes this program again, to become or to supervise another
// one.
func (p *program) command(argv ...string) *exec.Cmd {
	c := p.container
	return &exec.Cmd{
		Path: self, Args: argv,
		Dir: c.Dir, Env: c.environment(), Stdout: &p.output, Stderr: &p.output,
		WaitDelay: time.Second, // does not wait for processes that still hold its output
	}
}

// ended records how the program has ended.
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

// runtime is the file name of what runs the program, such as node or python3.11.
func (p *program) runtime() string {
	file, err := os.Readlink("/proc/" + strconv.Itoa(p.pid) + "/exe")
	if err != nil {
		return "" // it has ended
	}
	return filepath.Base(file)
}

// runtimeHandles reports whether the program's runtime has handlers of its own, so that handlers of
// the program itself cannot be told apart.
func (p *program) runtimeHandles() bool {
	name := p.runtime()
	return p.isGo || name == "node" || name == "java" || strings.HasPrefix(name, "ruby")
}

// handles reports whether the program's main process has a handler for a signal, according to the
// kernel.
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

// exec returns a command of a hook or a probe. It runs alongside the program, in its namespaces, so
// that kill 1 in it means the program. It leads a process group.
func (p *program) exec(argv []string) (*exec.Cmd, error) {
	c := p.container
	if c.Image != nil {
		return p.join(argv)
	}
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
		Path: args[0], Args: args, Dir: c.Dir, Env: c.environment(), Stdout: alongside{&p.output}, Stderr: alongside{&p.output},
		WaitDelay: time.Second, SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}, nil
}

// fillOutput writes to the pipes that are the program's output until they are full, and returns how
// many bytes that took.
func (p *program) fillOutput() (n int) {
	for _, fd := range []string{"1", "2"} {
		name := "/proc/" + strconv.Itoa(p.pid) + "/fd/" + fd
		if !isReadHere(name) {
			continue
		}
		// The pipe is opened again, so that the program's own end of it stays a blocking one.
		pipe, err := syscall.Open(name, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		for line := bytes.Repeat([]byte("\n"), 4096); len(line) > 0; {
			wrote, err := syscall.Write(pipe, line)
			if n += max(wrote, 0); err != nil {
				line = line[:len(line)/2] // the rest may be smaller than that
			}
		}
		_ = syscall.Close(pipe) // nothing is buffered
	}
	return n
}

// isReadHere reports whether a file of another process is a pipe that this process reads.
func isReadHere(name string) bool {
	pipe, err := os.Readlink(name)
	if err != nil || !strings.HasPrefix(pipe, "pipe:") {
		return false
	}
	own, err := os.ReadDir("/proc/self/fd")
	return err == nil && slices.ContainsFunc(own, func(f os.DirEntry) bool {
		link, err := os.Readlink("/proc/self/fd/" + f.Name())
		return err == nil && link == pipe
	})
}

// freeze stops all processes of the program, as a debugger does.
func (p *program) freeze() {
	for _, pid := range p.pids() {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
	}
}

// killGroup kills the group that a command leads. The command must not have been waited for.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may have ended meanwhile
