//go:build unix

package execkind

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
)

// Shim is the main function of the program when it is started as a shim. It returns the exit code.
//
// It starts one program and stays until nothing of the program's tree is left. It kills the tree
// when the program itself has ended, when the server orders it, and when the server is gone. It
// ignores signals: a terminal's Ctrl-C and a service manager's SIGTERM are for the server to
// handle.
func Shim() int {
	// Discard all; a program that is started gets their original actions.
	signal.Notify(make(chan os.Signal, 1))
	for _, fd := range []int{ordersFD, reportsFD, lockFD} {
		syscall.CloseOnExec(fd)
	}
	s := &shim{
		orders:  gob.NewDecoder(os.NewFile(ordersFD, "orders")),
		reports: gob.NewEncoder(os.NewFile(reportsFD, "reports")),
	}
	// The first process of a PID namespace must first be admitted. Processes that could inspect it are
	// not in that namespace, so nobody can read what the server sends here, which may contain secrets.
	err := closedUnless(os.Getpid() == 1)
	var first order
	if s.orders.Decode(&first) != nil || first.Start == nil {
		fmt.Fprintln(os.Stderr, "lastcall: "+ShimCommand+" is started by lastcall serve, for each program of a task; it is of no use to people")
		return 1
	}
	if err = errors.Join(err, confine.Undumpable(), first.Start.Isolation.Enter()); err != nil {
		s.report(failure(err))
		return 0
	}
	if first.Start.Try {
		return s.try()
	}
	return s.run(*first.Start)
}

// closedUnless protects this process from others, unless it still has to be admitted.
func closedUnless(admitted bool) error {
	if admitted {
		return nil
	}
	return confine.Undumpable()
}

// try reports whether a program could be monitored here.
func (s *shim) try() int {
	if _, err := proc.Children(os.Getpid()); err != nil {
		s.report(report{Failed: err.Error()})
	}
	return 0
}

// shimThreads is how many threads a shim needs at once, and a few more.
const shimThreads = 6

type shim struct {
	orders  *gob.Decoder
	reports *gob.Encoder
	tree    *proc.Tree
	group   *confine.Cgroup
	killing bool
}

func (s *shim) run(st start) int {
	scratch, noScratch := openFolder(st.Scratch) // before the program can put another one there
	if noScratch == nil {
		scratch.hold()
	}
	// A lack of threads must end this process before the program begins.
	proc.ReserveThreads(shimThreads)
	s.report(report{Starting: true})
	if err := s.start(st); err != nil {
		s.report(failure(err))
		return 0
	}
	s.report(report{Started: s.tree.PID()})
	orders := make(chan order)
	go s.listen(orders) // ends with this process
	var (
		kill    <-chan time.Time
		termed  bool
		exited  = s.tree.Exited()
		orphans bool
	)
	for {
		select {
		case o, ok := <-orders:
			switch {
			case !ok: // the server is gone
				orders, orphans = nil, true
				s.kill()
			case o.Stop != nil:
				if !termed {
					termed = true
					s.terminate()
				}
				kill = time.After(o.Stop.KillAfter)
			}
		case <-kill:
			s.kill()
		case <-exited:
			exited = nil
			// The death of the server closes the program's output, so the program may die of that before the
			// shim notices that the server is gone.
			orphans = !s.tellExit() || orphans
			s.kill() // what the program has left behind
		case <-s.tree.Gone():
			if exited != nil { // the program and the tree ended at once
				orphans = !s.tellExit() || orphans
			}
			if orphans { // the server is gone, and cannot clean up
				if noScratch == nil {
					_ = scratch.remove()
				}
				_ = st.Confined.Cgroup.Remove()
			}
			return 0
		}
	}
}

func (s *shim) start(st start) (err error) {
	s.group = st.Confined.Cgroup
	s.tree, err = st.Isolation.Start(st.Path, st.Argv, os.ProcAttr{
		Dir: st.Dir, Env: st.Env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}, st.Confined)
	if err != nil {
		return err
	}
	// From now on only the program holds these streams: a reader of the output sees its end when the
	// tree ends.
	return errors.Join(os.Stdin.Close(), os.Stdout.Close())
}

// listen passes orders on until the server is gone.
func (s *shim) listen(orders chan<- order) {
	defer close(orders)
	for {
		var o order
		if s.orders.Decode(&o) != nil {
			return
		}
		orders <- o
	}
}

// terminate sends SIGTERM to the program's group, and continues it if it is stopped.
func (s *shim) terminate() {
	if err := errors.Join(s.tree.Signal(syscall.SIGTERM), s.tree.Signal(syscall.SIGCONT)); err != nil {
		s.report(report{Trouble: "SIGTERM: " + err.Error()})
	}
}

// kill begins to kill the whole tree.
func (s *shim) kill() {
	if s.killing {
		return
	}
	s.killing = true
	go func() { // ends with the tree
		if err := s.group.Kill(); err != nil {
			s.report(report{Trouble: err.Error()})
		}
		if err := s.tree.Kill(); err != nil {
			s.report(report{Trouble: "only the program's process group was killed: " + err.Error()})
		}
	}()
}

// tellExit reports how the program itself has ended. It returns whether the server was there to
// receive that.
func (s *shim) tellExit() bool {
	e := s.tree.Exit()
	return s.report(report{Exit: &e})
}

// report sends a report, and returns whether the server was there to receive it.
func (s *shim) report(r report) bool { return s.reports.Encode(r) == nil }
