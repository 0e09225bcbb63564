//go:build !unix

package execkind

import "syscall"

func ownSession() *syscall.SysProcAttr { return nil }

const nonBlocking = 0
