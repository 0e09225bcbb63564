package lastcall

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/internal/signals"
)

// Main runs a program: it catches the signals, calls setup, waits until the
// group has stopped, and returns the exit code ([Report.ExitCode] lists them).
// Call it in the last statement of main:
//
//	os.Exit(lastcall.Main(lastcall.Config{}, setup))
//
// Main catches the signals before setup runs, so a signal is never lost. setup
// opens what the program needs and adds it to g: goroutines with Go and Loop,
// servers with HTTP and Serve, closers with Defer. Then it returns nil, and
// from then on g.Ready is true. An error of setup begins a stop with exit
// code 1; the closers that were registered so far run.
//
// While setup runs, its context ends at last call, so that a slow start can be
// stopped. Once setup has returned nil, the context ends at Interrupt, and so do the
// contexts that setup derived from it.
//
// Signals have these effects:
//
//   - The first stop signal makes the last call, the second one interrupts at once, and the
//     third one, n, ends the process with 128+n. The kernel merges pending signals: two of the same
//     kind that are sent to a stopped process arrive as one.
//   - SIGHUP calls Config.OnReload if it is set. Otherwise it is a stop signal, unless it was
//     ignored when the program started.
//   - SIGPIPE never ends the program, so that `server | tee log` survives the end of tee.
//   - SIGQUIT prints all stacks and exits, as in every Go program.
//   - SIGTSTP is not touched.
//
// If something hangs when the budget is used up - a logger, a closer - a watchdog ends
// the process with code 3.
//
// Under systemd (NOTIFY_SOCKET) Main sends READY=1 when setup has returned,
// STOPPING=1, STATUS= for each phase, and EXTEND_TIMEOUT_USEC= during a
// stop. The report goes to the logger and to Config.TerminationLog.
//
// If the Config is invalid, Main logs the reason and returns 1 without calling setup.
func Main(cfg Config, setup func(ctx context.Context, g *Group) error) int {
	m, err := newProcess(cfg)
	if err != nil {
		safelog.New(cfg.Logger).Error("the configuration cannot work", "error", err)
		return codeFailure
	}
	defer m.release()
	m.setUp(setup)
	report := m.group.Wait()
	m.helpers.Wait()
	return report.ExitCode()
}

// process is what Main adds to a Group: signals, the watchdog, systemd and the
// termination log.
type process struct {
	group   *Group
	cfg     Config
	signals <-chan os.Signal
	caught  chan os.Signal // nil when Config.Signals is used
	stopOn  []os.Signal
	notify  notifier
	helpers sync.WaitGroup
	stops   int       // stop signals so far
	logOnce sync.Once // for the termination log
}

func newProcess(cfg Config) (*process, error) {
	cfg, err := cfg.withEnvironment()
	if err != nil {
		return nil, err
	}
	if err := checkSignals(cfg.StopSignals); err != nil {
		return nil, err
	}
	if cfg.exit == nil {
		cfg.exit = os.Exit
	}
	g, err := newGroup(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	m := &process{group: g, cfg: cfg, notify: newNotifier()}
	m.catch()
	g.events = m.stopEvent
	g.person = cfg.Signals == nil && personAtStdin()
	g.pulse.start(time.Now(), idlePulse)
	m.helpers.Go(m.listen)
	return m, nil
}

// catch registers for the signals, unless Config.Signals replaces them.
func (m *process) catch() {
	m.stopOn = m.cfg.StopSignals
	if m.stopOn == nil {
		m.stopOn = defaultStopSignals()
	}
	if m.cfg.Signals != nil {
		m.signals = m.cfg.Signals
		return
	}
	if m.cfg.StopSignals == nil {
		// nohup starts a program with SIGHUP ignored, and a shell its background
		// jobs with SIGINT ignored. These signals must then have no effect.
		m.stopOn = slices.DeleteFunc(m.stopOn, func(s os.Signal) bool {
			return s != syscall.SIGTERM && signal.Ignored(s)
		})
	}
	m.caught = make(chan os.Signal, 16)
	m.signals = m.caught
	notify(m.caught, m.stopOn...)
	if m.cfg.OnReload != nil {
		notify(m.caught, signals.Hangup)
	}
	notify(m.caught, signals.Continue)
	// Nothing reads this channel. Because it is registered, a write to a closed pipe
	// on stdout or stderr returns an error; otherwise the write would end the process.
	// It stays registered after Main, since stdout is still open then.
	notify(make(chan os.Signal), signals.Pipe)
}

func (m *process) release() {
	if m.caught != nil {
		signal.Stop(m.caught)
	}
}

// setUp runs setup as a goroutine of the group.
func (m *process) setUp(setup func(context.Context, *Group) error) {
	g := m.group
	g.mu.Lock()
	g.setupRuns = true
	g.mu.Unlock()
	// start fails only if a signal has closed the gate already; then nothing needs
	// to be set up.
	_ = g.start(g.site(g.setupEnd, EntrySetup, "setup", 3), func(ctx context.Context) error {
		var err error
		if setup != nil {
			err = setup(ctx, g)
		}
		g.mu.Lock()
		g.setupRuns = false
		first := err == nil && !g.stopping()
		if first {
			g.ready.Store(true)
		}
		g.mu.Unlock()
		if first {
			m.notify.send("READY=1", "STATUS=running")
		}
		g.arm()
		return err
	})
}

// listen handles the signals until the group has ended. It also checks the
// clock, to notice that the process was frozen.
func (m *process) listen() {
	tick := time.NewTicker(idlePulse)
	defer tick.Stop()
	signals := m.signals
	for {
		select {
		case sig, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			m.handle(sig)
		case <-tick.C:
			if !m.group.stopping() {
				m.group.beat()
			}
		case <-m.group.done:
			return
		}
	}
}

// handle handles one signal.
func (m *process) handle(sig os.Signal) {
	g := m.group
	switch {
	case sig == signals.Continue:
		g.beat()
		return
	case sig == signals.Hangup && m.cfg.OnReload != nil:
		m.reload()
		return
	case !slices.Contains(m.stopOn, sig):
		return
	}
	m.stops++
	switch m.stops {
	case 1:
		if !g.begin(nil, sig) { // a stop had begun without a signal
			g.journal.log(g.log, slog.LevelInfo, "signal during a stop; another one interrupts", "signal", signals.Name(sig))
		}
	case 2:
		g.journal.log(g.log, slog.LevelWarn, "second signal: interrupting now", "signal", signals.Name(sig))
		g.interruptNow()
	default:
		m.cfg.exit(128 + signals.Number(sig))
	}
}

// reload calls OnReload in a goroutine of the group, one call at a time. All requests
// that arrive while it runs become one more call, which reads what has changed
// since.
func (m *process) reload() {
	g := m.group
	g.mu.Lock()
	busy := g.reloads > 0
	g.reloads = min(g.reloads+1, 2)
	g.mu.Unlock()
	if !busy {
		m.reloadNext()
	}
}

func (m *process) reloadNext() {
	g := m.group
	s := g.site(g.workEnd, EntryBackground, "reload", 2)
	err := g.start(s, func(ctx context.Context) error {
		defer func() { // also after a panic or a Goexit
			g.mu.Lock()
			g.reloads--
			more := g.reloads > 0
			g.mu.Unlock()
			if more {
				m.reloadNext()
			}
		}()
		if err := m.cfg.OnReload(&splice{values: ctx, end: g.loopEnd, group: g}); err != nil {
			return fmt.Errorf("reload: %w", err)
		}
		return nil
	})
	if err != nil {
		g.journal.log(g.log, slog.LevelInfo, "SIGHUP during a stop: nothing is reloaded")
	}
}

// stopEvent is called by the driver of the stop.
func (m *process) stopEvent(p phase) {
	switch p {
	case lastCall:
		m.notify.send("STOPPING=1")
		m.helpers.Go(m.watch)
	case ended:
		m.notify.send("STATUS=stopped")
		m.writeTerminationLog(m.group.reportSoFar())
		return
	}
	m.notify.send("STATUS=stopping: " + p.String())
}

// watch is the watchdog: it ends the process if the stop is not over at its deadline. It
// also extends systemd's timeout during the stop, up to that deadline.
func (m *process) watch() {
	g := m.group
	tick := time.NewTicker(stopPulse)
	defer tick.Stop()
	var told time.Time
	for {
		g.mu.Lock()
		exit := g.at.exit
		g.mu.Unlock()
		now := time.Now()
		if m.notify.on() && now.Sub(told) >= extendEvery {
			told = now
			m.notify.extend(now, exit)
		}
		if !exit.IsZero() && now.After(exit) {
			g.beat() // after a freeze it moves the deadline
			g.mu.Lock()
			over := !time.Now().Before(g.at.exit)
			g.mu.Unlock()
			if over {
				m.bark()
				return
			}
		}
		select {
		case <-g.done:
			return
		case <-tick.C:
			g.beat()
		}
	}
}

// bark ends the process with code 3, after it has written the report and a log line
// if these do not hang.
func (m *process) bark() {
	told := make(chan struct{})
	go func() {
		defer close(told)
		m.writeTerminationLog(m.group.reportOverdue()) // first: the logger may be what hangs
		m.group.log.Error("the stop itself hangs: the watchdog ends the process", "code", codeAbandoned)
	}()
	timer := time.NewTimer(maxReportTime)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	}
	m.cfg.exit(codeAbandoned)
}

// writeTerminationLog writes the report to the file that the platform reads, once.
func (m *process) writeTerminationLog(r Report) {
	path := terminationLog(m.cfg.TerminationLog)
	if path == "" {
		return
	}
	text := shorten(r.String(), terminationLogSize)
	m.logOnce.Do(func() { writeTerminationLog(path, text) })
}
