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
)

// Main runs a program: it catches the signals, calls setup, waits until the
// group has stopped, and returns the exit code ([Report.ExitCode] lists them).
// Use it as the last thing in main:
//
//	os.Exit(lastcall.Main(lastcall.Config{}, setup))
//
// The signals are caught before setup runs, so a signal is never lost. setup
// opens what the program needs and gives it to g: goroutines with Go and Loop,
// servers with HTTP and Serve, closers with Defer. Then it returns nil, and
// from then on g.Ready is true. An error of setup begins a stop with exit
// code 1, in which the closers registered so far run.
//
// setup's context ends at last call as long as setup runs, so that a slow
// start can be stopped; once setup has returned nil it ends at Interrupt, and
// so does what setup made with it.
//
// The first stop signal makes the last call, the second one interrupts at
// once, the third ends the process with 128+n. Signals coalesce in the kernel:
// two of the same kind sent to a stopped process arrive as one. When the
// budget is used up and something hangs - a logger, a closer - a watchdog ends
// the process with code 3.
//
// SIGHUP calls Config.OnReload if there is one; else it is a stop signal, unless
// the program was started with it ignored. SIGPIPE never ends the program, so
// that `server | tee log` survives the death of tee. SIGQUIT prints all stacks
// and exits, as in every Go program. SIGTSTP is not touched.
//
// Under systemd (NOTIFY_SOCKET) Main sends READY=1 when setup has returned,
// STOPPING=1, STATUS= for each phase, and EXTEND_TIMEOUT_USEC= while a stop
// runs. The report goes to the logger and to Config.TerminationLog.
//
// A Config that cannot work is logged and ends with code 1; setup is not
// called.
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
	logOnce sync.Once // the termination log is written
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

// catch asks for the signals, unless a test brings its own.
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
		// nohup ignores SIGHUP, and a shell ignores SIGINT for its background
		// jobs: that was done so that they do not matter.
		m.stopOn = slices.DeleteFunc(m.stopOn, func(s os.Signal) bool {
			return s != syscall.SIGTERM && signal.Ignored(s)
		})
	}
	m.caught = make(chan os.Signal, 16)
	m.signals = m.caught
	notify(m.caught, m.stopOn...)
	if m.cfg.OnReload != nil {
		notify(m.caught, hangupSignal)
	}
	notify(m.caught, continueSignal)
	// Nobody reads this channel. With it a write to a closed pipe is an error;
	// without it the write would end the process. It outlives Main, as stdout
	// does.
	notify(make(chan os.Signal), pipeSignal)
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
	// The gate is open as long as the signals have not closed it; then there
	// is nothing to set up.
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

// listen takes the signals until the group has ended. It also looks at the
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

// handle is what one signal means.
func (m *process) handle(sig os.Signal) {
	g := m.group
	switch {
	case sig == continueSignal:
		g.beat()
		return
	case sig == hangupSignal && m.cfg.OnReload != nil:
		m.reload()
		return
	case !slices.Contains(m.stopOn, sig):
		return
	}
	m.stops++
	switch m.stops {
	case 1:
		if !g.begin(nil, sig) { // it had begun by itself: this is news to nobody
			g.journal.log(g.log, slog.LevelInfo, "signal during a stop; another one interrupts", "signal", signalName(sig))
		}
	case 2:
		g.journal.log(g.log, slog.LevelWarn, "second signal: interrupting now", "signal", signalName(sig))
		g.interruptNow()
	default:
		m.cfg.exit(128 + signalNumber(sig))
	}
}

// reload calls the hook as a goroutine of the group, one at a time. What is
// asked for while it runs becomes one more call, which reads what changed
// meanwhile.
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
		m.writeTerminationLog()
		return
	}
	m.notify.send("STATUS=stopping: " + p.String())
}

// watch ends the process when the stop is not over at its end, and tells
// systemd to be as patient as the budget.
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
			g.beat() // a freeze gives the time again
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

// bark is the end of a stop that hangs in what cannot be bounded otherwise.
func (m *process) bark() {
	told := make(chan struct{})
	go func() {
		defer close(told)
		m.writeTerminationLog() // first: the logger may be what hangs
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

// writeTerminationLog leaves the report where the platform reads it, once.
func (m *process) writeTerminationLog() {
	path := terminationLog(m.cfg.TerminationLog)
	if path == "" {
		return
	}
	text := shorten(m.group.reportSoFar().String(), terminationLogSize)
	m.logOnce.Do(func() { writeTerminationLog(path, text) })
}
