//go:build unix

package image

import "syscall"

// apart shields a process from the signals that are sent to this one's group or terminal.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
