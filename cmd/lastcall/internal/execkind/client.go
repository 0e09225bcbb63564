package execkind

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
)

const (
	// settleWait is how long after one sign of a shim's end the server waits for the other. The signs
	// are the end of its pipe, and its exit.
	settleWait = 250 * time.Millisecond
	// killWait is how long the server itself may take to kill a shim and its tree.
	killWait = 5 * time.Second
)

// supervised is a program that runs under a shim, as the server sees it.
//
// Program and shim have the same user, so a malicious program can stop, trace or kill its shim, and
// hold the pipe open. Therefore nothing here relies on the shim: if it does not carry out an order
// in time, the server does so itself (end).
type supervised struct {
	keeper  *proc.Keeper
	cmd     *exec.Cmd
	orders  chan order    // buffered for more orders than there are
	ending  chan struct{} // closed by end
	endOnce sync.Once

	done chan struct{} // closed when the shim has ended, and with it the tree
	// After done: how the program ended, or why that is unknown.
	starting bool  // the shim was about to start the program
	started  bool  // the program has begun
	failed   error // why it could not be started
	exit     *proc.Exit
	troubles []string
	forced   bool             // the server has stopped waiting for the shim
	state    *os.ProcessState // of the shim; nil if it could not be waited for
	shimEnd  string           // how the shim ended
	left     error            // why a process of the tree may still live
}

// streams are the standard streams that a program gets.
type streams struct{ in, out, err *os.File }

// supervise starts a shim with the program of an order. lock may be nil. It closes none of the
// files.
func supervise(k *proc.Keeper, st start, io streams, lock *os.File, names ...string) (*supervised, error) {
	ordersR, ordersW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the shim: %w", err)
	}
	defer ordersR.Close()
	reportsR, reportsW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pipe to the shim: %w", err), ordersW.Close())
	}
	defer reportsW.Close()
	s := &supervised{keeper: k, cmd: shimCommand(names...), orders: make(chan order, 16), ending: make(chan struct{}), done: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = io.in, io.out, io.err
	s.cmd.ExtraFiles = []*os.File{ordersR, reportsW}
	if lock != nil {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, lock)
	}
	st.Isolation.Apply(s.cmd.SysProcAttr)
	if err := startAdmitted(k, s.cmd, st.Isolation); err != nil {
		return nil, errors.Join(fmt.Errorf("start the shim: %w", err), ordersW.Close(), reportsR.Close())
	}
	s.orders <- order{Start: &st}
	go s.follow(ordersW, reportsR)
	return s, nil
}

// shimCommand is this program as a shim. It is not started by its name, which may by now be that of
// another file. It gets no environment of the server, which may contain secrets.
func shimCommand(names ...string) *exec.Cmd {
	self := "/proc/self/exe"
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			self = os.Args[0]
		}
	}
	// It has no context: it ends when the pipe is closed.
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Args = append([]string{"lastcall", ShimCommand}, names...)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.SysProcAttr = ownSession()
	return cmd
}

// follow waits until the shim has ended, and with it the tree. A shim's end has two signs, its exit
// and the end of its pipe. One comes without the other if the program has got hold of the pipe, or
// traces the shim.
func (s *supervised) follow(orders, reports *os.File) {
	defer close(s.done)
	heard, waited := make(chan struct{}), make(chan struct{})
	over, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		s.send(gob.NewEncoder(orders), over)
	}()
	go func() {
		defer close(heard)
		s.hear(reports)
	}()
	go func() { // a process that traces the shim may delay this until its own end
		defer close(waited)
		_ = s.keeper.Wait(s.cmd) // its reports count, not how it exited
	}()
	ended := false
	select {
	case <-heard:
		ended = closedWithin(settleWait, waited)
	case <-waited:
		ended = closedWithin(settleWait, heard)
	case <-s.ending:
		s.forced = true
	}
	if !ended || s.exit == nil && s.failed == nil {
		s.kill()
		closedWithin(settleWait, heard)
	}
	s.shimEnd = "it could not be waited for"
	_ = reports.Close() // it is at its end, unless a process outside the tree holds it
	<-heard
	if closedWithin(settleWait, waited) {
		s.state = s.cmd.ProcessState
		s.shimEnd = describe(s.state)
	}
	close(over)
	_ = orders.Close() // orders that are not sent have no receiver
	<-sent
}

// closedWithin waits up to patience for a channel to be closed, and reports whether it is.
func closedWithin(patience time.Duration, c <-chan struct{}) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-c:
		return true
	case <-late.C:
		return false
	}
}

// hear receives the shim's reports, until no process can send one any more.
func (s *supervised) hear(reports *os.File) {
	for decoder := gob.NewDecoder(reports); ; {
		var r report
		if decoder.Decode(&r) != nil {
			return
		}
		switch {
		case r.Starting:
			s.starting = true
		case r.Started != 0:
			s.started = true
		case r.Failed != "":
			s.failed = &startError{r.Failed, r.Errno}
		case r.Exit != nil:
			s.exit = r.Exit
		case r.Trouble != "":
			s.troubles = append(s.troubles, r.Trouble)
		}
	}
}

// send sends orders until over is closed. The pipe may be full, if the program has seen to that.
func (s *supervised) send(to *gob.Encoder, over <-chan struct{}) {
	for {
		select {
		case o := <-s.orders:
			if to.Encode(o) != nil {
				return // the shim has ended or is about to; done is closed then
			}
		case <-over:
			return
		}
	}
}

// stop requests SIGTERM at once, and SIGKILL after a time.
func (s *supervised) stop(killAfter time.Duration) {
	select {
	case s.orders <- order{Stop: &stop{KillAfter: max(0, killAfter)}}:
	default: // the shim does not read its orders; end kills it
	}
}

// wake continues the shim, in case the program has stopped it (SIGSTOP).
func (s *supervised) wake() { _ = s.cmd.Process.Signal(goOn) } // the shim may have ended

// end has shim and tree killed, whatever the shim does. It returns at once; done is closed when
// they are gone.
func (s *supervised) end() { s.endOnce.Do(func() { close(s.ending) }) }

// kill kills shim and tree. SIGKILL also ends a process that is stopped.
func (s *supervised) kill() {
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	s.left = s.keeper.KillTree(ctx, s.cmd)
}

// lost returns an error if the shim ended without having reported how the program ended.
func (s *supervised) lost() error {
	switch told := s.exit != nil || s.failed != nil; {
	case told:
		return nil
	case s.neverBegan():
		return fmt.Errorf("the shim that was to start the program has ended before (%s)", s.shimEnd)
	}
	return fmt.Errorf("the shim that watched over the program has ended (%s), and the program was killed with it", s.shimEnd)
}

// neverBegan reports whether the shim certainly did not start the program. The absence of a report
// is not enough: a program may kill its shim before the start was reported. But a program cannot
// make the shim end by itself, which the Go runtime does when it gets no thread: with an exit code
// or by SIGABRT, which the shim ignores from others.
func (s *supervised) neverBegan() bool {
	byItself := false
	if closedWithin(0, s.done) && s.state != nil {
		status, ok := s.state.Sys().(syscall.WaitStatus)
		byItself = s.state.Exited() || ok && status.Signaled() && status.Signal() == syscall.SIGABRT
	}
	return !s.started && s.exit == nil && (!s.starting || byItself)
}

// startError is why a program could not be started, as its shim has reported.
type startError struct {
	text  string
	errno syscall.Errno // 0 if there is none
}

func (e *startError) Error() string { return e.text }

// Unwrap returns the number of the error, if there is one.
func (e *startError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// trouble returns what the operator should know about a program that has ended.
func (s *supervised) trouble() []string {
	all := s.troubles
	if s.forced {
		all = append(all, "its shim did not end it in time, perhaps because the program has stopped the shim: the server killed both")
	}
	if s.left != nil {
		all = append(all, s.left.Error())
	}
	return all
}

// describe returns how a shim ended.
func describe(state *os.ProcessState) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Sprintf("killed by signal %d", status.Signal())
	}
	return state.String()
}
