//go:build !linux

package execkind

import "syscall"

func ownSession() *syscall.SysProcAttr { return nil }

const (
	goOn        = syscall.Signal(0)
	nonBlocking = 0
)
