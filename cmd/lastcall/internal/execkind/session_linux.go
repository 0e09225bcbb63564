package execkind

import "syscall"

// ownSession puts a process into a session of its own, without a terminal. Ctrl-C on the terminal
// then goes to the server alone, and a program that asks for a password fails instead of waiting
// for ever. When the server dies, the process is continued if it was stopped, so that it can clean
// up.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: goOn}
}

// goOn continues a process that is stopped, and does nothing to others.
const goOn = syscall.SIGCONT

// nonBlocking opens a pipe without waiting for a writer.
const nonBlocking = syscall.O_NONBLOCK
