package execkind

import "syscall"

// ownSession puts a process into a session of its own, without a terminal: Ctrl-C there is the
// server's, and a program that asks for a password fails and does not wait for ever. When the server
// dies the process goes on if it was stopped, so that it can do what it has to do then.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: goOn}
}

// goOn makes a process that is stopped go on, and does nothing to others.
const goOn = syscall.SIGCONT

// nonBlocking opens a pipe without waiting for who writes to it.
const nonBlocking = syscall.O_NONBLOCK
