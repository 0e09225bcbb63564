package rehearse

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// isolation is how far a program is kept from the other processes.
type isolation int

const (
	// group: it leads a process group, below a subreaper.
	group isolation = iota
	// namespace: it is PID 1 of a PID namespace, as in a container.
	namespace
)

func (i isolation) String() string {
	if i == namespace {
		return "PID 1 of its own namespace"
	}
	return "in a process group, not PID 1: signals that it does not handle end it here, and would not in a container"
}

// program is the program that is rehearsed, while it runs. One goroutine, which its owner waits for
// through exited, starts it and waits for its end.
type program struct {
	isolation isolation
	keeper    proc.Keeper
	cmd       *exec.Cmd
	isGo      bool // it was built by Go, as its file says
	output    lastLines
	exited    chan struct{} // closed when it has ended
	endedAt   time.Time     // these belong to who has seen exited
	code      int
	signal    syscall.Signal
}

// enterCommand is the first argument of this executable when it is to become a program.
const enterCommand = "rehearse-enter"

// start starts a program, as PID 1 of its own namespace where the system allows it. executable is
// this program, whose main calls Enter first; without one there is no namespace.
func start(c *Config) (*program, error) {
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return nil, fmt.Errorf("rehearse: start %s: %w", c.Command[0], err)
	}
	if c.Executable != "" {
		p, err := startAs(namespace, path, c)
		if err == nil || !errors.Is(err, errNoNamespace) {
			return p, err
		}
	}
	return startAs(group, path, c)
}

// errNoNamespace: the system does not allow a PID namespace.
var errNoNamespace = errors.New("no PID namespace")

func startAs(how isolation, path string, c *Config) (*program, error) {
	_, err := buildinfo.ReadFile(path)
	p := &program{isolation: how, isGo: err == nil, exited: make(chan struct{})}
	cmd := &exec.Cmd{Path: path, Args: c.Command, Dir: c.Dir, Env: append(os.Environ(), c.Env...), Stdout: &p.output, Stderr: &p.output}
	// What the program's children still hold of its output is not waited for.
	cmd.WaitDelay = time.Second
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.SysProcAttr = attr
	var said *os.File
	if how == namespace {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("rehearse: %w", err)
		}
		defer w.Close()
		said = r
		defer said.Close()
		cmd.Path, cmd.Args = c.Executable, append([]string{c.Executable, enterCommand, path}, c.Command...)
		cmd.ExtraFiles = []*os.File{w}
		attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
		if os.Geteuid() != 0 {
			attr.Cloneflags |= syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
			attr.AmbientCaps = []uintptr{capSysAdmin}
		}
	} else if err := proc.BecomeSubreaper(); err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	p.cmd = cmd
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		if how == namespace {
			return nil, fmt.Errorf("%w: %w", errNoNamespace, err)
		}
		return nil, fmt.Errorf("rehearse: start %s: %w", path, err)
	}
	if said != nil {
		if err := p.entered(cmd.ExtraFiles[0], said); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// run starts the program and waits for its end, on one thread: the kernel kills the program when the
// thread ends that has started it.
func (p *program) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.keeper.Start(p.cmd); err != nil {
		started <- err
		return
	}
	started <- nil
	_ = p.keeper.Wait(p.cmd) // how it ended is in ProcessState
	p.endedAt = time.Now()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		p.signal = status.Signal()
		p.code = 128 + int(p.signal)
	} else {
		p.code = p.cmd.ProcessState.ExitCode()
	}
	close(p.exited)
}

// entered waits until the first process of the namespace has become the program.
func (p *program) entered(ours, said *os.File) error {
	ours.Close()
	text, err := io.ReadAll(said) // it ends when the program is executed
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	if len(text) == 0 {
		return nil
	}
	<-p.exited
	if what, ok := strings.CutPrefix(string(text), "namespace: "); ok {
		return fmt.Errorf("%w: %s", errNoNamespace, what)
	}
	return fmt.Errorf("rehearse: start %s: %s", p.cmd.Args[2], text)
}

// Enter makes this process the program that is rehearsed, if it was started for that, and does not
// return then. Call it first in main.
func Enter() {
	if len(os.Args) < 4 || os.Args[1] != enterCommand {
		return
	}
	runtime.LockOSThread()
	said := os.NewFile(3, "said")
	syscall.CloseOnExec(3)
	if err := enterNamespace(); err != nil {
		fmt.Fprintf(said, "namespace: %v", err)
		os.Exit(127)
	}
	err := syscall.Exec(os.Args[2], os.Args[3:], os.Environ())
	fmt.Fprintf(said, "%v", err)
	os.Exit(127)
}

const (
	capSysAdmin        = 21
	prCapAmbient       = 47
	prCapAmbientClear  = 4
	systemMountOptions = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
)

// enterNamespace gives the namespace a /proc of its own, and gives up what was needed for that.
func enterNamespace() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("this is process %d of its PID namespace, not the first one", os.Getpid())
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", systemMountOptions, ""); err != nil {
		return fmt.Errorf("mount a /proc of its own: %w", err)
	}
	// Without ambient capabilities a program that is not root's has none after it was executed.
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prCapAmbient, prCapAmbientClear, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}

// stop sends the stop signal to the program proper, as a container runtime does.
func (p *program) stop(sig syscall.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// kill kills the program with all that it has started, and waits for its end.
func (p *program) kill(ctx context.Context) error {
	if p.isolation == namespace {
		err := p.stop(syscall.SIGKILL)
		<-p.exited
		return err
	}
	err := p.keeper.KillTree(ctx, p.cmd)
	<-p.exited
	return err
}

// pids are the program's processes.
func (p *program) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	below, err := proc.Descendants(p.cmd.Process.Pid)
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
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
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

// ownGroup has a command lead a process group.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// killGroup kills the group that a command leads, which was not waited for.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may have ended meanwhile
