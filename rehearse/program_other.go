//go:build !linux

package rehearse

import (
	"net"
	"net/netip"
	"syscall"
)

// noClients is why nobody asks the program.
const noClients = "there are no clients: only on Linux can the ports of a program be found; say what clients ask for (--http, --tcp and so on)"

// outlives is what a report adds about a program in a process group.
const outlives = ", and a process that has left the group outlives the rehearsal: on Linux neither is so"

// The kernel tells the following on Linux alone.

func (p *program) pids() []int                       { return []int{p.pid} }
func (*program) runtime() string                     { return "" }
func (*program) handles(syscall.Signal) (bool, bool) { return false, false }
func (*program) fillOutput() int                     { return 0 }
func (*program) work() (uint64, bool)                { return 0, false }
func listening([]int) []netip.AddrPort               { return nil }
func accepted(net.Conn) bool                         { return true }
