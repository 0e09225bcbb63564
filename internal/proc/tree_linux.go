package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Tree is a program and all its descendants. The process that started it is their subreaper and
// waits for every one of them.
type Tree struct {
	pid    int
	exited chan struct{} // closed when the program itself has ended
	gone   chan struct{} // closed when no process of the tree is left

	mu     sync.Mutex
	ended  bool // the program itself has been reaped: its PID may belong to another process
	killed bool
	exit   Exit
}

// Start makes this process a subreaper and starts a program as the leader of a process group of its
// own. The program gets attr.Files and no other files of this process; attr.Sys may set more
// attributes.
//
// From then on every child of this process belongs to the tree, and the tree reaps it. A process
// can therefore have only one Tree, and must not start anything else.
func Start(path string, argv []string, attr os.ProcAttr) (*Tree, error) {
	if err := BecomeSubreaper(); err != nil {
		return nil, err
	}
	sys := syscall.SysProcAttr{}
	if attr.Sys != nil {
		sys = *attr.Sys
	}
	sys.Setpgid, attr.Sys = true, &sys
	p, err := os.StartProcess(path, argv, &attr)
	if err != nil {
		return nil, err
	}
	t := &Tree{pid: p.Pid, exited: make(chan struct{}), gone: make(chan struct{})}
	_ = p.Release() // t.wait reaps it
	go t.wait()
	return t, nil
}

// PID returns the process id of the program itself.
func (t *Tree) PID() int { return t.pid }

// Exited returns a channel that closes when the program itself has ended.
func (t *Tree) Exited() <-chan struct{} { return t.exited }

// Gone returns a channel that closes when no process of the tree is left.
func (t *Tree) Gone() <-chan struct{} { return t.gone }

// Exit returns how the program itself has ended. It is valid once Exited is closed.
func (t *Tree) Exit() Exit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit
}

// Signal sends a signal to the program's process group. It returns nil if the program has ended.
func (t *Tree) Signal(sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil // the PID may be that of another group by now
	}
	err := syscall.Kill(-t.pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Kill kills every process of the tree, in any group or session, and returns when none is left and
// Gone is closed. It continues while a process cannot be killed, such as one that waits for a
// broken disk.
//
// An error means that the processes could not be listed, for example without /proc. Then only the
// process group has been killed.
func (t *Tree) Kill() error {
	t.mu.Lock()
	t.killed = true
	t.mu.Unlock()
	if err := t.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process group %d: %w", t.pid, err)
	}
	for h := new(hunt); !closed(t.gone); h.rest(context.Background(), t.gone) {
		if os.Getpid() == 1 {
			// The PID namespace belongs to the tree. This kills all processes in it at once, so that
			// none can escape by forking.
			_ = syscall.Kill(-1, syscall.SIGKILL) // ESRCH: none is left
		}
		all, err := Descendants(os.Getpid())
		if err != nil {
			return err
		}
		h.kill(all)
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait reaps children until there is none. It closes both channels.
func (t *Tree) wait() {
	defer close(t.gone)
	for {
		// peek does not reap, reap does so with the lock: until then the PID belongs to no other
		// process, which Signal could meet.
		if err := peek(); err != nil {
			return // ECHILD: there is none
		}
		t.reap()
	}
}

// reap reaps the children that have ended.
func (t *Tree) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &usage)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if pid != t.pid || t.ended {
			continue
		}
		t.ended = true
		t.exit = Exit{Code: status.ExitStatus(), Killed: t.killed,
			CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
		if status.Signaled() {
			t.exit.Code, t.exit.Signal = -1, status.Signal()
		}
		close(t.exited)
	}
}

// peek returns when a child has ended, without reaping it, and ECHILD when there is no child.
func peek() error {
	const anyChild = 0    // P_ALL, linux/wait.h
	var siginfo [128]byte // the size of siginfo_t on every architecture; its content is not used
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, anyChild, 0, uintptr(unsafe.Pointer(&siginfo)),
			syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno == 0 {
			return nil
		}
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// BecomeSubreaper makes this process the parent of orphans among its descendants. That cannot be
// undone, and children do not inherit it.
func BecomeSubreaper() error {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER, linux/prctl.h
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("become a subreaper: %w", errno)
	}
	return nil
}
