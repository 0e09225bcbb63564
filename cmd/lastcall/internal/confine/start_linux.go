package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// Start starts a program, with all its descendants in a tree as proc.Start does, and confined as p
// says. The program can gain no privileges by what it executes (setuid, file capabilities).
func (i Isolation) Start(path string, argv []string, attr os.ProcAttr, p Program) (tree *proc.Tree, err error) {
	attr.Sys = new(syscall.SysProcAttr)
	if u := p.User; u != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	// These are inherited properties of a thread: this process itself keeps its own.
	err = onThread(func() error {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("refuse new privileges: %w", err)
		}
		if i == UserNamespaced {
			if err := dropCapabilities(); err != nil {
				return err
			}
		}
		leave, err := p.Cgroup.enter(attr.Sys)
		if err != nil {
			return err
		}
		tree, err = proc.Start(path, argv, attr)
		return errors.Join(err, leave())
	})
	return tree, err
}

// onThread calls f on a thread that ends with the call. It avoids the first thread of the process:
// that one cannot end, and stands for the whole process where control groups count processes.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // it is never unlocked, so the thread ends
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // on another thread, since this one is the first
			return
		}
		done <- f()
	}()
	return <-done
}
