package rehearse

import "syscall"

// here returns the number that a signal of Linux has on this system, and onLinux the opposite.
func here(s syscall.Signal) syscall.Signal    { return s }
func onLinux(s syscall.Signal) syscall.Signal { return s }

// sendable returns an error if this system does not have a signal.
func sendable(syscall.Signal) error { return nil }
