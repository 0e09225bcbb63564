//go:build linux

package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// launcher starts processes that end with this one. The kernel sends the signal for that when the
// thread ends that started the process, so one thread starts all of them, and stays.
type launcher struct {
	work chan launch
	done chan struct{}
}

type launch struct {
	start   func(*exec.Cmd) error
	cmd     *exec.Cmd
	started chan error
}

func newLauncher() *launcher {
	l := &launcher{work: make(chan launch), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		runtime.LockOSThread()
		for w := range l.work {
			w.started <- w.start(w.cmd)
		}
		runtime.UnlockOSThread() // its processes have ended; the thread may go on as another's
	}()
	return l
}

// start starts a process, which gets a signal when this one ends in whatever way.
func (l *launcher) start(cmd *exec.Cmd, atEnd syscall.Signal) error {
	return l.startBy((*exec.Cmd).Start, cmd, atEnd)
}

// startBy is start, with another function than cmd.Start.
func (l *launcher) startBy(start func(*exec.Cmd) error, cmd *exec.Cmd, atEnd syscall.Signal) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = atEnd
	w := launch{start: start, cmd: cmd, started: make(chan error)}
	l.work <- w
	return <-w.started
}

// close ends the thread. All processes must have ended.
func (l *launcher) close() {
	close(l.work)
	<-l.done
}
