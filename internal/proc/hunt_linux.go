package proc

import (
	"context"
	"syscall"
	"time"
)

// hunt kills processes that start others meanwhile. As long as it finds new ones it does not rest:
// each of a chain in which everyone starts the next and ends may live for microseconds.
type hunt struct {
	met   map[prey]bool
	pause time.Duration
}

type prey struct {
	pid  int
	born uint64
}

// kill kills those that are alive.
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
		_ = p.Signal(syscall.SIGKILL) // gone, or found again in the next round
	}
}

// rest waits until it is time for the next round, and reports false when ctx or stop ends.
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
