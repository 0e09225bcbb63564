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
	exited chan struct{} // closed when the program proper has ended
	gone   chan struct{} // closed when nothing of the tree is left

	mu     sync.Mutex
	ended  bool // the program proper has been reaped: its PID may be another's
	killed bool
	exit   Exit
}

// Start makes this process a subreaper and starts a program as the leader of a process group of its
// own. The program gets attr.Files and none of this process's others; attr.Sys may say more about
// it.
//
// From then on every child of this process counts to the tree and is waited for by it, whoever
// started it: a process can have one Tree, and starts nothing else.
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
	_ = p.Release() // the tree waits
	go t.wait()
	return t, nil
}

// PID is that of the program proper.
func (t *Tree) PID() int { return t.pid }

// Exited is closed when the program proper has ended, Gone when nothing of the tree is left.
func (t *Tree) Exited() <-chan struct{} { return t.exited }

// Gone is closed when nothing of the tree is left.
func (t *Tree) Gone() <-chan struct{} { return t.gone }

// Exit tells how the program proper has ended, once Exited is closed.
func (t *Tree) Exit() Exit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit
}

// Signal sends a signal to the program's process group. It is nil when the program has ended.
func (t *Tree) Signal(sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil // the number may be another group's by now
	}
	err := syscall.Kill(-t.pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Kill kills every process of the tree, in whatever group or session, until none is left: it
// returns when Gone is closed. It goes on as long as a process cannot be killed, as one that waits
// for a broken disk.
//
// An error means that the tree could not be looked at, as without a /proc; then only the process
// group has been killed.
func (t *Tree) Kill() error {
	t.mu.Lock()
	t.killed = true
	t.mu.Unlock()
	if err := t.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process group %d: %w", t.pid, err)
	}
	for h := new(hunt); !closed(t.gone); h.rest(context.Background(), t.gone) {
		if os.Getpid() == 1 {
			// The namespace is the tree's, and this reaches all of it at once: nobody can outrun it
			// by forking.
			_ = syscall.Kill(-1, syscall.SIGKILL) // ESRCH: nobody is left
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

// wait reaps children until there is none. It owns both channels.
func (t *Tree) wait() {
	defer close(t.gone)
	for {
		// Only looked at: the number of a process that is not reaped is nobody else's, and Signal
		// must not meet another one.
		if err := peek(); err != nil {
			return // ECHILD: there is none
		}
		t.reap()
	}
}

// reap takes what has ended.
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
	var siginfo [128]byte // as large as siginfo_t is everywhere; not looked at
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

// BecomeSubreaper makes orphans among this process's descendants its own children. It cannot be
// taken back, and children do not inherit it.
func BecomeSubreaper() error {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER, linux/prctl.h
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("become a subreaper: %w", errno)
	}
	return nil
}
