package rehearse

import (
	"net/netip"
	"slices"
	"strconv"
)

// givesBack reports whether the program has answered the stop signal by taking its handler away and
// going on as before: it listens where it did. Such a handler is no reaction. That of Node.js restores
// the terminal, gives the signal its default action back, and raises it again: as PID 1 the program
// has no default action, and runs on.
func (r *rehearsal) givesBack() bool {
	if !r.handled || r.program.isolation != namespace {
		return false
	}
	handled, known := r.program.handles(r.config.Program.StopSignal)
	if handled || !known {
		return false
	}
	if r.traffic == nil {
		// A program in Go gives a signal back on purpose, for the second one to end it.
		return !r.program.isGo
	}
	port := r.traffic.targets[0].url.Port()
	return slices.ContainsFunc(listening(r.program.pids()), func(a netip.AddrPort) bool { return strconv.Itoa(int(a.Port())) == port })
}
