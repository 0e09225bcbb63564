package rehearse

import (
	"net/netip"
	"slices"
	"strconv"
)

// givesBack reports whether the program has reacted to the stop signal only by removing its
// handler: it goes on, and listens where it did. That is no reaction. The handler of Node.js does
// it: it restores the terminal, gives the signal its default action back, and raises it again. But
// PID 1 has no default action, so the program keeps running.
func (r *rehearsal) givesBack() bool {
	if !r.handled || r.program.isolation != namespace {
		return false
	}
	handled, known := r.program.handles(r.config.Program.StopSignal)
	if handled || !known {
		return false
	}
	if r.traffic == nil {
		// A Go program gives a signal back on purpose, so that the second one terminates it.
		return !r.program.isGo
	}
	return r.program.listensAt(r.traffic.targets[0].url.Port())
}

// listensAt reports whether the program listens at a port.
func (p *program) listensAt(port string) bool {
	return slices.ContainsFunc(listening(p.pids()), func(a netip.AddrPort) bool { return strconv.Itoa(int(a.Port())) == port })
}
