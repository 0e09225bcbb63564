// Package proc handles process trees: a program and all its descendants.
//
// A program can leave its process group and its session, and its parent can end before it, so
// neither a signal to the group nor a list of children finds every process of a tree. The package
// relies on the kernel's rule for orphans instead: an orphan becomes a child of its nearest
// ancestor that is a subreaper, or of the init of the PID namespace. If a process makes itself a
// subreaper before it starts a program, every descendant of the program stays below it. The tree is
// gone exactly when the process has no child any more.
//
//   - [Start] starts a program as a [Tree], in a process that has no other purpose.
//   - [Keeper] is for a process that starts several such processes, and may be PID 1. It reaps
//     orphans, but leaves the exit codes of the processes that were started through it to their
//     callers.
//   - [Children] and [Descendants] list processes.
//
// The package works on Linux, with the /proc of the process's own PID namespace. On other systems
// the functions return an error that matches errors.ErrUnsupported.
package proc

import (
	"syscall"
	"time"
)

// Process is the state of a process at the moment when it was read from /proc.
type Process struct {
	// PID is its process id, Parent that of its parent at that moment.
	PID, Parent int
	// Group and Session are its process group and session.
	Group, Session int
	// State is the letter of /proc/PID/stat: R, S, D, T, Z and others.
	State byte
	// Born is the start time, in clock ticks since the machine's boot. It distinguishes processes
	// that had the same PID one after the other.
	Born uint64
}

// Zombie reports whether the process has ended and was not yet waited for.
func (p Process) Zombie() bool { return p.State == 'Z' || p.State == 'X' }

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, or -1 if a signal ended the process.
	Code int
	// Signal is the signal that ended the process, or 0 if it exited by itself.
	Signal syscall.Signal
	// Killed reports whether Tree.Kill had been called before.
	Killed bool
	// CPU is the user and system time of the process and of the children that it waited for.
	CPU time.Duration
}
