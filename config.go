package lastcall

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Config sets how much time a stop has, which signals begin it and where its
// report goes. The zero value is a good configuration.
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

	// Delay is how long servers go on accepting after last call, at the least, so
	// that a client that does not know of it yet is not refused. Default: 3 s
	// (less in a budget of under 10 s) where others send clients, which is
	// assumed in Kubernetes, and in Main when a server listens on an address that
	// is not loopback; else none. There is none with a PreStop either, nor
	// outside Kubernetes for the Ctrl-C of a person, which is a SIGINT to a
	// program whose input is a terminal. A server of ServeUntilClose counts for
	// nothing here.
	Delay time.Duration

	// Reserve is the end of the budget: after Interrupt its first half is for
	// returning, the rest for the closers and the report. Default: a tenth of
	// the budget, at least 1 s, at most 5 s, never more than half the budget.
	// It cannot be none: recording takes time.
	Reserve time.Duration

	// StopSignals are the signals that begin a stop. Default: SIGINT and
	// SIGTERM, and SIGHUP unless OnReload is given or the signal was ignored
	// when the program started (nohup). Set it when an image declares another
	// STOPSIGNAL. SIGKILL and SIGSTOP cannot be caught: naming them is an error.
	StopSignals []os.Signal

	// OnReload, when given, is called on SIGHUP instead of a stop: one call at a
	// time, in a goroutine of the group named "reload", with a context that
	// ends at last call. Its errors are logged and stop nobody.
	OnReload func(context.Context) error

	// OnThaw, when given, is called after the process was frozen: stopped and
	// continued (SIGSTOP, SIGCONT), paused with its container or its machine,
	// or starved of CPU. It receives for about how long; the resolution is one
	// second, a tenth of a second during a stop. It runs as a Background.
	OnThaw func(frozen time.Duration)

	// Logger receives one line per phase of a stop and one per goroutine that
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

// graceVariable is the environment variable that replaces Config.Grace.
const graceVariable = "LASTCALL_GRACE"

// none is how a Config says "none" in a duration.
const none time.Duration = -1

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
