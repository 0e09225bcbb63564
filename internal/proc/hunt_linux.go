package proc

import (
	"context"
	"syscall"
	"time"
)

// hunt kills processes that start new ones meanwhile. It does not pause between rounds while it
// finds new processes: in a chain in which each process starts the next and ends, each may live for
// microseconds.
type hunt struct {
	met   map[prey]bool
	pause time.Duration
}

type prey struct {
	pid  int
	born uint64
}

// kill sends SIGKILL to the processes that are no zombies.
func (h *hunt) kill(all []Process) {
	if h.met == nil || len(h.met) > 10_000 {
		h.met = make(map[prey]bool)
	}
	h.pause = max(time.Millisecond, min(2*h.pause, 50*time.Millisecond))
	for _, p := range all {
		if p.Zombie() {
			continue
		}
		if it := (prey{p.PID, p.Born}); !h.met[it] {
			h.met[it] = true
			h.pause = 0
		}
		_ = p.Signal(syscall.SIGKILL) // on an error the next round finds it again, or it is gone
	}
}

// rest waits until it is time for the next round. It returns false if ctx or stop ends first.
func (h *hunt) rest(ctx context.Context, stop <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	case <-time.After(h.pause):
		return true
	}
}
