//go:build unix

package execkind

import "syscall"

// ownSession puts a process into a session of its own, without a terminal: Ctrl-C there is the
// server's, and a program that asks for a password fails and does not wait for ever.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// nonBlocking opens a pipe without waiting for who writes to it.
const nonBlocking = syscall.O_NONBLOCK
