// Package proc handles trees of processes: a program, what it has started, and what those have
// started.
//
// A program can leave its process group and its session, and its parent can end before it, so
// neither a signal to the group nor a list of children finds all of them. What does find them is
// the kernel's rule for orphans: they go to the nearest ancestor that is a subreaper, or to the
// init of the PID namespace. A process that makes itself a subreaper before it starts a program has
// every descendant of it below itself until it is dead, and nothing is left exactly when it has no
// child any more.
//
//   - [Start] starts a program with its tree, in a process that exists for nothing else.
//   - [Keeper] is for a process that starts several such processes, and may be PID 1: it reaps
//     orphans without taking the exit code of a process that somebody else waits for.
//   - [Children] and [Descendants] look.
//
// It is for Linux, with the /proc of the process's own PID namespace. On other systems everything
// returns an error that is errors.ErrUnsupported.
package proc

import (
	"syscall"
	"time"
)

// Process is a process at the moment when it was looked at.
type Process struct {
	// PID names the process, Parent its parent at that moment.
	PID, Parent int
	// Group and Session are its process group and session.
	Group, Session int
	// State is the letter of /proc/PID/stat: R, S, D, T, Z and others.
	State byte
	// Born tells processes apart that had the same PID one after the other: clock ticks since the
	// machine's boot.
	Born uint64
}

// Zombie says whether the process has ended and was not yet waited for.
func (p Process) Zombie() bool { return p.State == 'Z' || p.State == 'X' }

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, and -1 when a signal ended the process.
	Code int
	// Signal ended the process; 0 when it exited by itself.
	Signal syscall.Signal
	// Killed says that Tree.Kill had been called before.
	Killed bool
	// CPU is the user and system time that the process and those that it waited for have used.
	CPU time.Duration
}
