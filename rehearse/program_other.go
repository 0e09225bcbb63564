//go:build !linux

package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

type isolation int

const namespace isolation = 1

func (*program) where() string { return "" }

// program does not exist on other systems.
type program struct {
	container *Container
	isolation isolation
	stop      func(syscall.Signal) error
	kill      func(context.Context) error
	isGo      bool
	startedAt time.Time
	output    lastLines
	exited    chan struct{}
	drained   chan struct{}
	endedAt   time.Time
	code      int
	signal    syscall.Signal
}

func start(*Container, bool) (*program, error) {
	return nil, fmt.Errorf("rehearse: a rehearsal needs Linux, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func (*program) runtime() string                     { return "" }
func (*program) runtimeHandles() bool                { return false }
func (*program) pids() []int                         { return nil }
func (*program) handles(syscall.Signal) (bool, bool) { return false, false }
func listening([]int) []netip.AddrPort               { return nil }
func accepted(net.Conn) bool                         { return true }

func (*program) exec([]string) (*exec.Cmd, error) { return nil, errors.ErrUnsupported }
func (*program) fillOutput() int                  { return 0 }
func (*program) work() (uint64, bool)             { return 0, false }
func (*program) freeze()                          {}
func killGroup(int)                               {}
