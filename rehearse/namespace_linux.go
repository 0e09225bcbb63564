package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// The names under which this process is executed again, to become a program or to supervise one.
const (
	enterCommand     = "lastcall-rehearse-enter"
	superviseCommand = "lastcall-rehearse-supervise"
)

// init takes over a process that was executed under one of these names: it has no main of its own.
func init() { //nolint:gochecknoinits // a test binary that rehearses has no main that could call it
	if len(os.Args) < 3 {
		return
	}
	switch path, argv := os.Args[1], os.Args[2:]; os.Args[0] {
	case enterCommand:
		runtime.LockOSThread()
		said := os.NewFile(3, "said")
		syscall.CloseOnExec(3)
		err := enterNamespace()
		if err != nil {
			err = fmt.Errorf("%s%w", namespaceWord, err)
		} else {
			err = syscall.Exec(path, argv, os.Environ())
		}
		fmt.Fprint(said, err)
		os.Exit(127)
	case superviseCommand:
		os.Exit(supervise(path, argv))
	}
}

// namespaceWord begins what is said when the namespace is at fault, and not the program.
const namespaceWord = "namespace: "

// startNamespaced starts the program as PID 1 of a namespace. It is killed by the kernel when this
// process ends, and all that it has started with it.
func (p *program) startNamespaced(path string) error {
	said, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	defer said.Close()
	cmd := p.command(enterCommand, path)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{capSysAdmin}
	}
	p.stop = func(sig syscall.Signal) error {
		if err := cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return nil
	}
	p.kill = func(ctx context.Context) error {
		err := p.stop(syscall.SIGKILL)
		return errors.Join(err, awaitKilled(ctx, p.exited))
	}
	started := make(chan error, 1)
	go p.runOnThread(cmd, started)
	err = <-started
	if closing := theirs.Close(); err == nil && closing != nil {
		return errors.Join(closing, p.kill(context.Background()))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoNamespace, err)
	}
	p.pid = cmd.Process.Pid
	text, err := io.ReadAll(said) // it ends when the program is executed
	if len(text) == 0 && err == nil {
		return nil
	}
	<-p.exited
	if what, ok := strings.CutPrefix(string(text), namespaceWord); ok {
		return fmt.Errorf("%w: %s", errNoNamespace, what)
	}
	return fmt.Errorf("rehearse: start %s: %s", path, text)
}

// awaitKilled waits for what was killed, which a broken disk may keep from ending.
func awaitKilled(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("it was killed and has not ended: look what it waits for in /proc: %w", context.Cause(ctx))
	}
}

// runOnThread starts the program and waits for its end, on one thread: the kernel kills the program
// when the thread ends that has started it.
func (p *program) runOnThread(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if started <- err; err != nil {
		return
	}
	_ = cmd.Wait() // how it ended is in ProcessState
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		p.ended(-1, status.Signal())
		return
	}
	p.ended(cmd.ProcessState.ExitCode(), 0)
}

// Constants of the kernel that package syscall has not.
const (
	capSysAdmin       = 21
	prCapAmbient      = 47
	prCapAmbientClear = 4
)

// enterNamespace gives the namespace a /proc of its own, and gives up what was needed for that.
func enterNamespace() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("this is process %d of its PID namespace, not the first one", os.Getpid())
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a /proc of its own: %w", err)
	}
	// Without ambient capabilities a program that is not root's has none after it was executed.
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prCapAmbient, prCapAmbientClear, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
