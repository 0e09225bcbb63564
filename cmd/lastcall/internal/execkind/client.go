package execkind

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// supervised is a program that runs under a shim, as the server sees it.
type supervised struct {
	cmd     *exec.Cmd
	orders  *os.File
	encoder *gob.Encoder

	done chan struct{} // closed when the shim has ended, and with it the tree
	// After done: how the program ended, or why that is not known.
	failed   string // why it could not be started
	exit     *proc.Exit
	troubles []string
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
	s := &supervised{cmd: shimCommand(names...), orders: ordersW, encoder: gob.NewEncoder(ordersW), done: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = io.in, io.out, io.err
	s.cmd.ExtraFiles = []*os.File{ordersR, reportsW}
	if lock != nil {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, lock)
	}
	st.Isolation.Apply(s.cmd.SysProcAttr)
	if err := startAdmitted(k, s.cmd, st.Isolation); err != nil {
		return nil, errors.Join(fmt.Errorf("start the shim: %w", err), ordersW.Close(), reportsR.Close())
	}
	go s.follow(k, reportsR)
	s.tell(order{Start: &st})
	return s, nil
}

// shimCommand is this program as a shim. It is not started by its name, which may be another file's
// by now, and gets none of the server's environment, in which there may be secrets.
func shimCommand(names ...string) *exec.Cmd {
	self := "/proc/self/exe"
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			self = os.Args[0]
		}
	}
	// It has no context: it ends with the pipe.
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Args = append([]string{"lastcall", ShimCommand}, names...)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.SysProcAttr = ownSession()
	return cmd
}

// follow reads what the shim reports until it has ended.
func (s *supervised) follow(k *proc.Keeper, reports *os.File) {
	defer close(s.done)
	for decoder := gob.NewDecoder(reports); ; {
		var r report
		if decoder.Decode(&r) != nil {
			break
		}
		switch {
		case r.Failed != "":
			s.failed = r.Failed
		case r.Exit != nil:
			s.exit = r.Exit
		case r.Trouble != "":
			s.troubles = append(s.troubles, r.Trouble)
		}
	}
	_ = reports.Close()  // at its end
	_ = k.Wait(s.cmd)    // what it reported counts
	_ = s.orders.Close() // a late order goes nowhere
}

// stop asks for SIGTERM at once, and for SIGKILL after a time.
func (s *supervised) stop(killAfter time.Duration) { s.tell(order{Stop: &stop{KillAfter: killAfter}}) }

// tell sends an order. If that fails, the shim has ended or is about to, and done says so.
func (s *supervised) tell(o order) { _ = s.encoder.Encode(o) }

// lost says that the shim ended without having told how the program ended.
func (s *supervised) lost() error {
	if s.exit != nil || s.failed != "" {
		return nil
	}
	how := s.cmd.ProcessState.String()
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		how = fmt.Sprintf("killed by signal %d", status.Signal())
	}
	return fmt.Errorf("the shim that watched over the program has ended (%s), and the program was killed with it", how)
}
