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
// report goes. The zero value works for most programs.
//
// In every duration field, 0 means the default and -1 means none.
type Config struct {
	// Grace is the time from the stop signal to the SIGKILL that the platform
	// sends: terminationGracePeriodSeconds in Kubernetes, TimeoutStopSec in
	// systemd, the -t of docker stop. Default 30 s. With none, a stop takes as
	// long as the work does, until a second signal interrupts it.
	//
	// In Main, the environment variable LASTCALL_GRACE ("45s", "2m", "none")
	// overrides it, so that one place in a manifest can set both.
	Grace time.Duration

	// GraceFlag is the grace from the command line, or 0 if the user gave none.
	// It overrides LASTCALL_GRACE and Grace.
	GraceFlag time.Duration

	// PreStop is how long the platform's preStop hook takes. The hook uses up
	// part of the same grace, so it is subtracted from the budget. Default none.
	PreStop time.Duration

	// Delay is the minimum time for which servers still accept connections after
	// last call, so that clients that do not know of the stop yet are not refused.
	//
	// The default is 3 s (less in a budget of under 10 s) where a platform routes
	// clients to the process: in Kubernetes, and in Main when a server listens on
	// an address that is not loopback. The default is none in all other cases,
	// with a PreStop, and, outside Kubernetes, when a person presses Ctrl-C: a
	// SIGINT to a program whose input is a terminal. A server of ServeUntilClose
	// has no influence on the default.
	Delay time.Duration

	// Reserve is the last part of the budget; it begins at Interrupt. In its first
	// half interrupted work returns; the rest is for the closers and the report.
	// Default: a tenth of the budget, at least 1 s, at most 5 s, never more than
	// half the budget. It cannot be none: recording takes time.
	Reserve time.Duration

	// StopSignals are the signals that begin a stop. Default: SIGTERM, SIGINT and,
	// unless OnReload is set, SIGHUP. The default leaves out SIGINT and SIGHUP if
	// they were ignored when the program started (a background job of a shell,
	// nohup). Set it when a container image declares another STOPSIGNAL. SIGKILL
	// and SIGSTOP cannot be caught: naming them is an error.
	StopSignals []os.Signal

	// OnReload, if set, is called on SIGHUP, which then does not begin a stop. One
	// call runs at a time, in a goroutine of the group named "reload", with a
	// context that ends at last call. Its errors are logged and do not begin a
	// stop.
	OnReload func(context.Context) error

	// OnThaw, if set, is called after the process was frozen: stopped and
	// continued (SIGSTOP, SIGCONT), paused with its container or its machine,
	// or starved of CPU. Its argument is how long that was, approximately: the
	// resolution is one second, a tenth of a second during a stop. It runs as a
	// Background.
	OnThaw func(frozen time.Duration)

	// Logger receives one line per phase of a stop and one per goroutine that
	// failed, was interrupted or was abandoned. Default: slog.Default(). A
	// logger that blocks does not delay the stop: lines that it has not written a
	// second after the end, or at the end of the budget, are lost.
	Logger *slog.Logger

	// TerminationLog is a file to which Main writes at most 4,096 bytes of the
	// report; `kubectl describe pod` shows them. The file must exist: Main does not
	// create it. Default: /dev/termination-log. "-" means none.
	TerminationLog string

	// Signals replaces the operating system's signals, for tests of Main. It must
	// be set in a testing/synctest bubble.
	Signals <-chan os.Signal

	exit func(code int) // os.Exit, replaced by this package's tests
}

// graceVariable is the environment variable that replaces Config.Grace.
const graceVariable = "LASTCALL_GRACE"

// none is the value of a duration in a Config that means "none".
const none time.Duration = -1

// withEnvironment applies the settings that the command line and the environment may
// override in Main.
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
