package lastcall

import (
	"log/slog"
	"time"

	"github.com/lastcall-go/lastcall/internal/signals"
)

// server is a server that a Group stops in two steps: it stops accepting, then its last
// request ends. All methods except release return at once. The servers of ServeUntilClose do
// not implement it.
type server interface {
	drain()                          // stop accepting
	drained() bool                   // nothing is open or running any more
	interrupt()                      // interrupt what still runs, beyond the end of its context
	abandon()                        // close what is still open
	release()                        // end drain's goroutines and wait for them, 100 ms at most
	open() []Entry                   // what still runs or is connected
	served() (finished, cut []Entry) // what ended during the stop: before or after Interrupt
}

// drive runs a stop, from last call to the report. No other goroutine changes the phase
// after last call. Every wait in it is bounded, except with a Grace of none.
func (g *Group) drive() {
	defer close(g.done)
	g.announce(lastCall)
	deadline := func(which func(*deadlines) time.Time) func() time.Time {
		return func() time.Time {
			g.mu.Lock()
			defer g.mu.Unlock()
			return which(&g.at)
		}
	}
	toDelay := deadline(func(d *deadlines) time.Time { return d.delay })
	toInterrupt := deadline(func(d *deadlines) time.Time { return d.interrupt })
	toContexts := deadline(func(d *deadlines) time.Time { return d.contexts })
	toAbandon := deadline(func(d *deadlines) time.Time { return d.abandon })

	g.await(toDelay, func() bool { return false })

	g.enter(draining)
	inTime, servers := g.acceptMeanwhile(toInterrupt)
	served := func() bool {
		for _, s := range servers {
			if !s.drained() {
				return false
			}
		}
		return true
	}
	idle := func() bool { return g.live.Load() == gateClosed }
	if inTime {
		inTime = g.await(toInterrupt, served)
	} else {
		// Gives the requests that arrived last a moment before they are interrupted.
		g.await(toContexts, served)
	}
	g.closeGate()
	inTime = inTime && g.await(toInterrupt, idle)
	if !inTime {
		g.interrupt(servers)
		if !g.await(toAbandon, func() bool { return idle() && served() }) {
			g.abandonRest(servers)
		}
	}
	g.endWork(ErrStopping)
	g.endLast(ErrStopping)
	g.endSetup(ErrStopping)

	g.enter(closing)
	for _, s := range servers {
		s.release()
	}
	g.closeLasting()
	g.runClosers()
	g.finish(servers)
}

// await waits until ok returns true or the deadline has passed, and returns the last
// result of ok. It reads the deadline again each time something has changed. A zero
// deadline never passes.
func (g *Group) await(deadline func() time.Time, ok func() bool) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if ok() {
			return true
		}
		left := stopPulse
		if at := deadline(); !at.IsZero() {
			if left = min(left, time.Until(at)); left <= 0 {
				g.beat() // a deadline that passed while the process was frozen moves
				if at = deadline(); !time.Now().Before(at) {
					return ok()
				}
				continue
			}
		}
		timer.Reset(left)
		select {
		case <-g.changed:
		case <-timer.C:
			g.beat()
		}
	}
}

// enter begins the next phase.
func (g *Group) enter(p phase) {
	g.mu.Lock()
	g.phase.Store(int32(p))
	g.mu.Unlock()
	g.announce(p)
}

// announce logs a phase and passes it to Main's callback.
func (g *Group) announce(p phase) {
	g.mu.Lock()
	at, report := g.at, g.report
	g.mu.Unlock()
	attrs := []any{"phase", p.String()}
	until := at.interrupt
	switch p {
	case lastCall:
		if report.Signal != nil {
			attrs = append(attrs, "signal", signals.Name(report.Signal))
		}
		if report.Cause != nil {
			attrs = append(attrs, "cause", report.Cause)
		}
		attrs = append(attrs, "goroutines", g.live.Load()&^gateClosed)
	case interrupted:
		until = at.abandon
	case abandoned, closing:
		until = at.close
	}
	if !until.IsZero() {
		attrs = append(attrs, "left", max(time.Until(until), 0).Round(time.Millisecond))
	}
	g.journal.log(g.log, slog.LevelInfo, "stop", attrs...)
	if g.events != nil {
		g.events(p)
	}
}

// acceptMeanwhile leaves the listeners open until everything has returned that was running when the
// delay ended: as long as the process lives anyway, a late client need not find its port closed.
// Requests do not count, nor does the work that they start from now on: otherwise new clients would
// prolong the stop. Then it closes the listeners, and reports whether that was before Interrupt.
func (g *Group) acceptMeanwhile(toInterrupt func() time.Time) (inTime bool, servers []server) {
	g.mu.Lock()
	servers = append(servers, g.servers...)
	g.mu.Unlock()
	if len(servers) == 0 {
		return true, nil
	}
	g.registry.markEarlier()
	if waits := !g.registry.earlierEnded(); waits {
		inTime = g.await(toInterrupt, g.registry.earlierEnded)
		g.journal.log(g.log, slog.LevelInfo, "listeners close")
	} else {
		inTime = true
	}
	for _, s := range servers {
		s.drain()
	}
	return inTime, servers
}

// interrupt ends the contexts of all work that has not returned.
func (g *Group) interrupt(servers []server) {
	g.mu.Lock()
	g.at.interruptLate(time.Now())
	cause := &InterruptError{Signal: g.report.Signal, Until: g.at.abandon}
	g.mu.Unlock()
	g.enter(interrupted)
	for _, e := range g.remaining(servers) {
		g.journal.log(g.log, slog.LevelWarn, "interrupting", e.attrs()...)
	}
	g.endWork(cause)
	g.endSetup(cause)
	for _, s := range servers {
		s.interrupt()
	}
}

// remaining returns entries for all work that has not returned.
func (g *Group) remaining(servers []server) []Entry {
	entries := g.registry.running()
	for _, s := range servers {
		entries = append(entries, s.open()...)
	}
	return entries
}

// abandonRest adds the work that ignored its context to the report, and stops waiting for it.
func (g *Group) abandonRest(servers []server) {
	g.enter(abandoned)
	entries := g.remaining(servers)
	g.abandon(entries, 1)
	for _, e := range entries {
		g.journal.log(g.log, slog.LevelError, "abandoned", e.attrs()...)
	}
	for _, s := range servers {
		s.abandon()
	}
}

// abandon adds entries to the report, and then their stacks, for which there is a share of the
// time: see dumpTime. If the watchdog comes meanwhile, the report has their names.
func (g *Group) abandon(entries []Entry, n int) {
	g.mu.Lock()
	from := len(g.report.Abandoned)
	g.report.Abandoned = append(g.report.Abandoned, entries...)
	g.mu.Unlock()
	addStacks(entries, g.id, g.dumpTime(n), g.dump)
	g.mu.Lock()
	defer g.mu.Unlock()
	copy(g.report.Abandoned[from:], entries) // only the driver adds any
	g.pulse.start(time.Now(), stopPulse)     // the dump took that time: it was not a freeze
}

// dumpTime returns how long a goroutine profile may take now. It shares the time that is
// left until the end of the closers with n other steps, such as closers.
func (g *Group) dumpTime(n int) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.close.IsZero() {
		return maxDumpTime
	}
	return min(maxDumpTime, max(time.Until(g.at.close)/time.Duration(n+1), g.budget.report/2))
}

// maxLogTime is how long a stop that is over waits for its logger, at most.
const maxLogTime = time.Second

// finish completes the report, in the last part of the reserve.
func (g *Group) finish(servers []server) {
	for _, stop := range g.unhook {
		stop()
	}
	g.mu.Lock()
	r := &g.report
	r.Took = time.Since(r.Began)
	r.add(g.registry.noted())
	for _, s := range servers {
		r.add(s.served())
	}
	r.sort()
	g.final = *r
	g.phase.Store(int32(ended))
	patience := maxLogTime
	if !g.at.exit.IsZero() {
		patience = min(patience, time.Until(g.at.exit)-g.budget.report/2)
	}
	g.mu.Unlock()

	level := slog.LevelInfo
	if g.final.ExitCode() != 0 {
		level = slog.LevelError
	}
	g.journal.log(g.log, level, "stopped", g.final.attrs()...)
	if g.events != nil {
		g.events(ended)
	}
	g.journal.finish(g.log, max(patience, g.budget.report/4))
}

// reportSoFar returns a copy of the report. Printing a report calls Error methods of the
// user's errors, and mu must not be held for that.
func (g *Group) reportSoFar() Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.report.clone()
}

// reportOverdue returns the report of a stop that hangs: the goroutines that run are abandoned. It
// does not ask the servers, because a server may be what hangs.
func (g *Group) reportOverdue() Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.report.clone()
	r.overdue = true
	p := phase(g.phase.Load())
	if p < abandoned {
		r.Abandoned = append(r.Abandoned, g.registry.running()...)
	}
	if p != ended {
		r.add(g.registry.noted())
	}
	r.sort()
	return r
}
