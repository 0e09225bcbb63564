//go:build linux

package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// launcher starts processes that end with this one. The kernel sends their signal when the thread
// that started them ends, so one thread starts all of them, and lives as long as they do.
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
		runtime.UnlockOSThread() // all its processes have ended
	}()
	return l
}

// start starts a process. The process gets the signal when this one ends in whatever way.
func (l *launcher) start(cmd *exec.Cmd, atEnd syscall.Signal) error {
	return l.startBy((*exec.Cmd).Start, cmd, atEnd)
}

// startBy is start with a function other than cmd.Start.
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
