package lastcall

import (
	"time"

	"github.com/lastcall-go/lastcall/internal/suspend"
)

// pulse notices that the process did not run: a beat is due each time the interval every has
// passed, and this one is much later. The time for which the machine was suspended is added, since
// the monotonic clock stands still meanwhile. The owner's lock guards a pulse.
type pulse struct {
	last  time.Time
	slept time.Duration // suspend.Total at that time
	every time.Duration
}

const (
	idlePulse   = time.Second
	stopPulse   = 100 * time.Millisecond
	freezeSlack = 500 * time.Millisecond // a busy machine may be as late as this
)

func (p *pulse) start(now time.Time, every time.Duration) {
	p.last, p.slept, p.every = now, suspend.Total(), every
}

// beat returns how long the process was frozen since the last beat, approximately.
func (p *pulse) beat(now time.Time) time.Duration {
	elapsed := now.Sub(p.last) + suspend.Since(p.slept)
	p.last, p.slept = now, suspend.Total()
	if late := elapsed - p.every; late > freezeSlack {
		return late
	}
	return 0
}
