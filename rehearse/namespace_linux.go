package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// namespaceWord begins the errors that are the fault of the namespace, and not of the program.
const namespaceWord = "namespace: "

// startNamespaced starts the program as PID 1 of a namespace. When this process ends, the kernel
// kills the program and everything that it has started.
func (p *program) startNamespaced(path string) error {
	c := p.container
	said, theirSaid, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	defer said.Close()
	theirOrders, orders, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("rehearse: %w", err), theirSaid.Close())
	}
	defer orders.Close() // when it ends, a program that has not begun exits
	theirs := []*os.File{theirSaid, theirOrders}
	cmd := p.command(enterCommand)
	cmd.ExtraFiles, cmd.SysProcAttr = theirs, namespaces(c.Image)
	if c.Image != nil {
		cmd.Dir, cmd.Env = "", []string{} // an image's settings are not for the process that enters it
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
	for _, f := range theirs {
		_ = f.Close() // the process has its own copy
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoNamespace, err)
	}
	p.pid = cmd.Process.Pid
	if err := json.NewEncoder(orders).Encode(newEntry(path, c)); err != nil && !errors.Is(err, syscall.EPIPE) {
		return errors.Join(fmt.Errorf("rehearse: %w", err), p.kill(context.Background()))
	}
	text, err := io.ReadAll(said) // it ends when the program is executed
	if len(text) == 0 && err == nil {
		return nil
	}
	<-p.exited
	if what, ok := strings.CutPrefix(string(text), namespaceWord); ok {
		return fmt.Errorf("%w: %s", errNoNamespace, what)
	}
	// What an image calls its program cannot begin a line.
	return fmt.Errorf("rehearse: start %s", strings.ReplaceAll(fmt.Sprintf("%s: %s", c.Command[0], text), "\n", " "))
}

// namespaces are those of a program: PID and mount if it uses this machine's files, and all but the
// network if it runs in an image.
func namespaces(image *Image) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if image != nil {
		attr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP
		attr.Setsid, attr.Setpgid = true, false // otherwise it could inject input into this terminal
		image.mapOwners(attr)
		return attr
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{capSysAdmin}
	}
	return attr
}

// runOnThread starts the program and waits for its end on one thread: the kernel kills the program
// when the thread that has started it ends.
func (p *program) runOnThread(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if started <- err; err != nil {
		return
	}
	defer close(p.drained)
	state, err := cmd.Process.Wait()
	if err != nil {
		p.ended(-1, syscall.SIGKILL) // something else has waited for it
	} else if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		p.ended(-1, status.Signal())
	} else {
		p.ended(state.ExitCode(), 0)
	}
	_ = cmd.Wait() // for its output, which processes that it has started may share
}
