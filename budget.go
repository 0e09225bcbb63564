package lastcall

import (
	"errors"
	"fmt"
	"time"
)

const (
	defaultGrace  = 30 * time.Second
	defaultDelay  = 3 * time.Second
	minReserve    = time.Second
	maxReserve    = 5 * time.Second
	maxReportTime = 100 * time.Millisecond
	lastRequests  = 100 * time.Millisecond // for requests that arrived just before Interrupt
	// The kubelet counts a grace in whole seconds, rounded down.
	kubeletRounds  = time.Second
	kubernetesHost = "KUBERNETES_SERVICE_HOST"
)

// budget is a Config's durations after defaults and checks.
type budget struct {
	// Grace is none: no deadline until a second signal or an outer group sets one.
	unlimited bool
	total     time.Duration // from last call to exit
	delay     time.Duration // the configured one, or the default that fits
	openDelay time.Duration // the delay if a server of Main listens for other machines
	reserve   time.Duration
	report    time.Duration // the last part of the reserve
}

// budget computes the durations. If they cannot fit, the error says why, with the
// numbers. Always: delay + reserve <= total <= grace, and report < reserve.
func (c Config) budget(kubernetes bool) (budget, error) {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Grace", c.Grace}, {"PreStop", c.PreStop}, {"Delay", c.Delay}, {"Reserve", c.Reserve}} {
		if d.value < none {
			return budget{}, fmt.Errorf("lastcall: %s is %v: use a positive duration, 0 for the default or -1 for none", d.name, d.value)
		}
	}
	if c.Reserve == none {
		return budget{}, errors.New("lastcall: Reserve is -1 (none), but recording and closing take time: use 0 for the default, or a small duration")
	}
	preStop := max(c.PreStop, 0)
	if c.Grace == none {
		b := budget{unlimited: true, reserve: c.Reserve, delay: max(c.Delay, 0)}
		if b.reserve == 0 {
			b.reserve = maxReserve
		}
		b.report = min(maxReportTime, b.reserve/4)
		b.defaultDelay(c, kubernetes, defaultDelay)
		return b, nil
	}

	grace := c.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	rounding := time.Duration(0)
	if kubernetes || preStop > 0 {
		rounding = kubeletRounds
	}
	sum := fmt.Sprintf("a grace of %v - preStop %v - %v for the kubelet's rounding", grace, preStop, rounding)
	if preStop >= grace || grace-preStop <= rounding { // in this order: no overflow
		return budget{}, fmt.Errorf("lastcall: %s leaves no time to stop: raise the grace (terminationGracePeriodSeconds) or shorten preStop", sum)
	}
	b := budget{total: grace - preStop - rounding, reserve: c.Reserve}
	if b.reserve == 0 {
		b.reserve = min(max(b.total/10, minReserve), maxReserve)
		b.reserve = max(min(b.reserve, b.total/2), 1)
	}
	if b.reserve > b.total {
		return budget{}, fmt.Errorf("lastcall: %s leaves a budget of %v, less than the reserve of %v: raise the grace or lower Reserve", sum, b.total, b.reserve)
	}
	b.report = min(maxReportTime, b.reserve/4)
	room := b.total - b.reserve
	b.delay = max(c.Delay, 0)
	if b.delay > room {
		return budget{}, fmt.Errorf("lastcall: %s leaves a budget of %v; a delay of %v and a reserve of %v do not fit in it: raise the grace or lower Delay", sum, b.total, b.delay, b.reserve)
	}
	b.defaultDelay(c, kubernetes, room/3)
	return b, nil
}

// defaultDelay sets the default delay, unless the Config has a Delay or a PreStop: as delay in
// Kubernetes, which routes clients to the process, and as openDelay everywhere.
func (b *budget) defaultDelay(c Config, kubernetes bool, room time.Duration) {
	if c.Delay == 0 && c.PreStop <= 0 {
		b.openDelay = min(defaultDelay, room)
		if kubernetes {
			b.delay = b.openDelay
		}
	}
	b.openDelay = max(b.openDelay, b.delay)
}

// deadlines are the moments of one stop. A zero time is no deadline.
type deadlines struct {
	delay     time.Time // until then servers accept, even if nothing runs
	interrupt time.Time // the latest moment at which servers stop accepting
	contexts  time.Time // contexts end; later than interrupt only if servers accepted until then
	abandon   time.Time
	close     time.Time // the last closer is abandoned
	exit      time.Time // the watchdog ends the process
}

// from computes the deadlines of a stop whose last call is now. limit, unless zero,
// is the moment at which the stop must be over (the Abandon of an outer group).
func (b budget) from(now, limit time.Time) deadlines {
	d := deadlines{delay: now.Add(b.delay)}
	total := b.total
	switch {
	case limit.IsZero() && b.unlimited:
		return d
	case limit.IsZero():
	case b.unlimited, limit.Sub(now) < total:
		total = max(limit.Sub(now), 0)
	}
	if b.unlimited || total < b.total { // the reserve was computed for another budget
		b = b.within(total / 2)
	}
	d.interrupt = now.Add(total - b.reserve)
	b.reserveFrom(&d, d.interrupt)
	d.delay = earliest(d.delay, d.interrupt)
	return d
}

// within returns the budget with its reserve limited to the given one.
func (b budget) within(reserve time.Duration) budget {
	b.reserve = min(b.reserve, max(reserve, 0))
	b.report = min(b.report, b.reserve/4)
	return b
}

// reserveFrom sets the deadlines that follow the given moment of Interrupt.
func (b budget) reserveFrom(d *deadlines, interrupt time.Time) {
	d.contexts = interrupt.Add(min(lastRequests, b.reserve/10))
	d.abandon = interrupt.Add(b.reserve / 2)
	d.close = interrupt.Add(b.reserve - b.report)
	d.exit = interrupt.Add(b.reserve)
}

// hasten brings Interrupt forward to now, and the deadlines that follow it.
func (b budget) hasten(d *deadlines, now time.Time) {
	var soon deadlines
	b.reserveFrom(&soon, now)
	d.delay = earliest(d.delay, now)
	d.interrupt = earliest(d.interrupt, now)
	d.contexts = earliest(d.contexts, now)
	d.abandon = earliest(d.abandon, soon.abandon)
	d.close = earliest(d.close, soon.close)
	d.exit = earliest(d.exit, soon.exit)
}

// thaw begins the reserve again, from now, if Interrupt has passed. Otherwise deadlines
// that passed while the process was frozen would abandon goroutines that had no chance
// to return. The new deadlines may be later than the platform's SIGKILL; that is no worse
// than giving up at once.
func (b budget) thaw(d *deadlines, now time.Time) {
	if d.interrupt.IsZero() || now.Before(d.interrupt) {
		return
	}
	var again deadlines
	b.reserveFrom(&again, now)
	d.abandon = latest(d.abandon, again.abandon)
	d.close = latest(d.close, again.close)
	d.exit = latest(d.exit, again.exit)
}

// interruptLate moves Abandon if Interrupt comes late, at now, because the machine is too busy: the
// work has at least half of the time that is left for it and the closers.
func (d *deadlines) interruptLate(now time.Time) {
	if half := d.close.Sub(now) / 2; !d.close.IsZero() {
		d.abandon = latest(d.abandon, now.Add(half))
	}
}

// earliest returns the earlier of two deadlines.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// latest returns the later of two deadlines.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
