//go:build unix

package rehearse

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

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
	if err := sendable(c.StopSignal); err != nil {
		return nil, err
	}
	p := newProgram(c, namespace)
	if err = errNoNamespace; !sharePIDs {
		err = p.startNamespaced(path)
	}
	if errors.Is(err, errNoNamespace) {
		p = newProgram(c, group)
		err = p.startSupervised(path)
	}
	if err != nil {
		return nil, err
	}
	p.isGo = builtByGo(path)
	return p, nil
}

// command returns a command that executes this program again, to become or to supervise another
// one.
func (p *program) command(argv ...string) *exec.Cmd {
	c := p.container
	path, err := ownFile()
	return &exec.Cmd{
		Path: path, Args: argv, Err: err,
		Dir: c.Dir, Env: c.environment(), Stdout: &p.output, Stderr: &p.output,
		WaitDelay: time.Second, // does not wait for processes that still hold its output
	}
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

// freeze stops all processes of the program, as a debugger does.
func (p *program) freeze() {
	_ = syscall.Kill(-p.pid, syscall.SIGSTOP) // it may have ended
	for _, pid := range p.pids() {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have left the group, or ended
	}
}

// killGroup kills the group that a command leads. The command must not have been waited for.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may have ended meanwhile
