package lastcall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Config says how much time a stop has and who is told about it. The zero
// value is a good configuration.
//
// In every duration 0 means the default and -1 means none.
type Config struct {
	// Grace is the time from the stop signal to the SIGKILL that the platform
	// sends: terminationGracePeriodSeconds in Kubernetes, TimeoutStopSec in
	// systemd, the -t of docker stop. Default 30 s. None: a stop takes as
	// long as the work does, until a second signal interrupts it.
	//
	// Main lets the environment variable LASTCALL_GRACE ("45s", "2m", "none")
	// replace it, so that one place in a manifest can set both.
	Grace time.Duration

	// GraceFlag is what the user typed on the command line; 0 when nothing was
	// typed. It beats LASTCALL_GRACE and Grace.
	GraceFlag time.Duration

	// PreStop is how long the platform's preStop hook takes. The hook is paid
	// from the same grace, so it is subtracted from the budget. Default none.
	PreStop time.Duration

	// Delay is how long servers go on accepting after last call, so that a
	// client that has not yet heard of it is not refused. Default: 3 s in
	// Kubernetes when there is a server and no PreStop (less in a budget of
	// under 10 s), else none.
	Delay time.Duration

	// Reserve is the end of the budget: after Interrupt its first half is for
	// returning, the rest for the closers and the report. Default: a tenth of
	// the budget, at least 1 s, at most 5 s, never more than half the budget.
	// It cannot be none: recording takes time.
	Reserve time.Duration

	// StopSignals are the signals that begin a stop. Default: SIGINT and
	// SIGTERM, and SIGHUP unless Reload is given or the signal was ignored
	// when the program started (nohup). Set it when an image declares another
	// STOPSIGNAL. SIGKILL and SIGSTOP cannot be caught: naming them is an error.
	StopSignals []os.Signal

	// OnReload, when given, is called on SIGHUP instead of a stop: one call at a
	// time, in a goroutine of the group named "reload", with a context that
	// ends at last call. Its errors are logged and stop nobody.
	OnReload func(context.Context) error

	// OnThaw, when given, is called after the process was frozen: stopped and
	// continued (SIGSTOP, SIGCONT), paused with its container or its machine,
	// or starved of CPU. It hears for about how long; the resolution is one
	// second, a tenth of a second during a stop. It runs as a Background.
	OnThaw func(frozen time.Duration)

	// Logger hears one line per phase of a stop and one per goroutine that
	// failed, was interrupted or was abandoned. Default: slog.Default(). A
	// logger that blocks does not hold up the stop: what it has not written a
	// second after the end, or at the end of the budget, is lost.
	Logger *slog.Logger

	// TerminationLog is a file that receives at most 4,096 bytes of the report,
	// where `kubectl describe pod` shows them. It is never created. Default:
	// /dev/termination-log. "-" means none. Only Main writes it.
	TerminationLog string

	// Signals replaces the operating system's signals, for tests of Main. In a
	// testing/synctest bubble it has to be set.
	Signals <-chan os.Signal

	exit func(code int) // os.Exit, replaced by this package's tests
}

const (
	defaultGrace   = 30 * time.Second
	defaultDelay   = 3 * time.Second
	minReserve     = time.Second
	maxReserve     = 5 * time.Second
	maxReportTime  = 100 * time.Millisecond
	kubeletRounds  = time.Second // the kubelet counts a grace in whole seconds, rounded down
	graceVariable  = "LASTCALL_GRACE"
	kubernetesHost = "KUBERNETES_SERVICE_HOST"
)

// none is how a Config says "none" in a duration.
const none time.Duration = -1

// budget is a Config's durations after defaults and checks.
type budget struct {
	unlimited bool          // Grace is none: no deadline until somebody asks for one
	total     time.Duration // from last call to exit
	delay     time.Duration // accepted explicitly, or the default that fits
	reserve   time.Duration
	report    time.Duration // the end of the reserve
}

// budget lays out the durations, or says with their numbers why they cannot
// fit. Always: delay + reserve <= total <= grace, and report < reserve.
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
	defaultedDelay := time.Duration(0)
	if c.Delay == 0 && kubernetes && preStop == 0 {
		defaultedDelay = defaultDelay
	}
	if c.Grace == none {
		b := budget{unlimited: true, reserve: c.Reserve, delay: max(c.Delay, defaultedDelay, 0)}
		if b.reserve == 0 {
			b.reserve = maxReserve
		}
		b.report = min(maxReportTime, b.reserve/4)
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
	if defaultedDelay > 0 {
		b.delay = min(defaultedDelay, room/3)
	}
	return b, nil
}

// withEnvironment applies what Main lets the command line and the environment
// override.
func (c Config) withEnvironment() (Config, error) {
	switch v := os.Getenv(graceVariable); {
	case c.GraceFlag != 0:
		if c.GraceFlag < none {
			return c, fmt.Errorf("lastcall: a grace of %v on the command line: use a positive duration, or -1 for none", c.GraceFlag)
		}
		c.Grace = c.GraceFlag
	case v == "":
	case v == "none" || v == "-1":
		c.Grace = none
	default:
		d, err := time.ParseDuration(strings.TrimSpace(v))
		if err != nil || d <= 0 {
			return c, fmt.Errorf("lastcall: %s is %q: use a positive duration with its unit, such as 45s or 2m, or none", graceVariable, v)
		}
		c.Grace = d
	}
	return c, nil
}

// deadlines are the moments of one stop. A zero time is no deadline.
type deadlines struct {
	delay     time.Time // servers stop accepting
	interrupt time.Time
	abandon   time.Time
	close     time.Time // the last closer is given up
	exit      time.Time // the watchdog ends the process
}

// from lays the budget out from the moment of last call. limit, unless zero,
// is a moment at which everything has to be over (a surrounding group's).
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
	if b.unlimited || total < b.total { // not the budget that the reserve was made for
		b = b.within(total / 2)
	}
	d.interrupt = now.Add(total - b.reserve)
	b.reserveFrom(&d, d.interrupt)
	d.delay = earliest(d.delay, d.interrupt)
	return d
}

// within is the budget with a reserve of at most this much.
func (b budget) within(reserve time.Duration) budget {
	b.reserve = min(b.reserve, max(reserve, 0))
	b.report = min(b.report, b.reserve/4)
	return b
}

// reserveFrom lays the reserve out from the moment of the interrupt.
func (b budget) reserveFrom(d *deadlines, interrupt time.Time) {
	d.abandon = interrupt.Add(b.reserve / 2)
	d.close = interrupt.Add(b.reserve - b.report)
	d.exit = interrupt.Add(b.reserve)
}

// hasten brings Interrupt forward to now, and with it what follows.
func (b budget) hasten(d *deadlines, now time.Time) {
	var soon deadlines
	b.reserveFrom(&soon, now)
	d.delay = earliest(d.delay, now)
	d.interrupt = earliest(d.interrupt, now)
	d.abandon = earliest(d.abandon, soon.abandon)
	d.close = earliest(d.close, soon.close)
	d.exit = earliest(d.exit, soon.exit)
}

// earliest returns the earlier of two deadlines.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
