//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// process is one incarnation of a slot.
type process struct {
	name  string // unique in the run
	cmd   *exec.Cmd
	peer  *peer
	rec   *record
	ended chan struct{} // closed when its end is recorded

	mu   sync.Mutex
	gone bool // it has been reaped: its number may belong to another process
}

// begin starts a process that belongs to the run.
func (r *run) begin(name string, cmd *exec.Cmd) (*process, error) {
	out, err := os.Create(r.logFile(name))
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own copy
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{name: name, cmd: cmd, peer: r.hub.expect(name), rec: r.rec, ended: make(chan struct{})}
	p.peer.mu.Lock() // it cannot become ready before its start is recorded
	err = r.launcher.start(cmd, syscall.SIGKILL)
	if err == nil {
		p.peer.pid = cmd.Process.Pid
		r.rec.add(history.Event{Process: &history.Process{Name: name, PID: p.pid(), What: history.Started}})
	}
	p.peer.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	r.waits.Go(p.wait)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// wait records the process's end, after everything that it has reported.
func (p *process) wait() {
	var info unix.Siginfo
	for { // without reaping: the number stays reserved until no signal is under way
		err := unix.Waitid(unix.P_PID, p.pid(), &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	_ = p.cmd.Wait() // ProcessState has the outcome
	p.peer.drain()
	p.peer.mu.Lock()
	e := history.Process{Name: p.name, PID: p.pid(), What: history.Ended, Left: p.peer.left}
	p.peer.mu.Unlock()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.By = unix.SignalName(status.Signal())
	} else {
		e.Code = p.cmd.ProcessState.ExitCode()
	}
	p.rec.add(history.Event{Process: &e})
	close(p.ended)
}

// signal records a signal and sends it. It does nothing when the process has ended.
func (p *process) signal(sig syscall.Signal, grace time.Duration) {
	e := history.Process{Name: p.name, PID: p.pid(), What: history.Signalled, Signal: unix.SignalName(sig), Grace: grace}
	p.send(sig, e, true)
}

// stop suspends the process, resume continues it. The recorded time includes the whole suspension.
func (p *process) stop() {
	p.send(syscall.SIGSTOP, history.Process{Name: p.name, PID: p.pid(), What: history.Stopped}, true)
}

func (p *process) resume() {
	p.send(syscall.SIGCONT, history.Process{Name: p.name, PID: p.pid(), What: history.Continued}, false)
}

// send sends a signal, and records it before or after that.
func (p *process) send(sig syscall.Signal, e history.Process, before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	if before {
		p.rec.add(history.Event{Process: &e})
	}
	_ = p.cmd.Process.Signal(sig) // the process exists, if only as a zombie
	if !before {
		p.rec.add(history.Event{Process: &e})
	}
}

// alive reports whether the end of the process has not been recorded yet.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// endsWithin waits up to d for the end of the process, and reports whether it has ended.
func (p *process) endsWithin(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return !p.alive()
}

// terminate sends SIGTERM, and SIGKILL if the process has not ended within the grace and more, the
// tolerance for a slow machine. It returns when the process has ended.
func (p *process) terminate(grace, more time.Duration) {
	p.signal(syscall.SIGTERM, grace)
	if !p.endsWithin(context.Background(), grace+more) {
		p.kill()
	}
}

// kill kills the process, and returns when its end is recorded.
func (p *process) kill() {
	p.signal(syscall.SIGKILL, 0)
	<-p.ended
}
