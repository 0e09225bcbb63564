//go:build unix

package rehearse

import (
	"errors"
	"os"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// processGroup is a tree where the kernel does not tell a process's descendants: the program leads
// a process group, and a process that has left the group is not found.
type processGroup struct {
	pid    int
	exited chan struct{}
	exit   proc.Exit
}

// startGroup starts a program as the leader of a process group.
func startGroup(path string, argv []string, files []*os.File) (*processGroup, error) {
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return nil, err
	}
	g := &processGroup{pid: p.Pid, exited: make(chan struct{})}
	go g.wait(p)
	return g, nil
}

func (g *processGroup) PID() int                { return g.pid }
func (g *processGroup) Exited() <-chan struct{} { return g.exited }
func (g *processGroup) Exit() proc.Exit         { return g.exit }

// wait waits for the program itself, and kills what is left of its group at once: so does a
// container, and later the number may be that of another group.
func (g *processGroup) wait(p *os.Process) {
	state, err := p.Wait()
	killGroup(g.pid)
	g.exit = proc.Exit{Code: -1}
	if err == nil {
		g.exit.Code = state.ExitCode()
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			g.exit.Signal = status.Signal()
		}
	}
	close(g.exited)
}

// Kill kills the group, and waits for the program itself.
func (g *processGroup) Kill() error {
	select {
	case <-g.exited:
		return nil
	default:
	}
	if err := syscall.Kill(-g.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-g.exited
	return nil
}
