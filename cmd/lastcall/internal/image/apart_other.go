//go:build !unix

package image

import "syscall"

func apart() *syscall.SysProcAttr { return nil }
