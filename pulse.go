package lastcall

import "time"

// pulse notices that the process did not run: a beat is due each time the interval
// every has passed, and this one is much later. Both clocks are compared, since the monotonic
// one does not advance while a machine sleeps. A wall clock that is set forward
// looks like a freeze. The owner's lock guards a pulse.
type pulse struct {
	last  time.Time
	every time.Duration
}

const (
	idlePulse   = time.Second
	stopPulse   = 100 * time.Millisecond
	freezeSlack = 500 * time.Millisecond // a busy machine may be as late as this
)

func (p *pulse) start(now time.Time, every time.Duration) { p.last, p.every = now, every }

// beat returns how long the process was frozen since the last beat, approximately.
func (p *pulse) beat(now time.Time) time.Duration {
	elapsed := max(now.Sub(p.last), now.Round(0).Sub(p.last.Round(0)))
	p.last = now
	if late := elapsed - p.every; late > freezeSlack {
		return late
	}
	return 0
}
