package lastcall

import (
	"context"
	"log/slog"
	"time"
)

// pulse notices that the process did not run: a beat that should have come
// after every comes much later. Both clocks are looked at, since the monotonic
// one stands still while a machine sleeps. A wall clock that is set forward
// looks the same; it moves no deadline.
type pulse struct {
	last  time.Time
	every time.Duration
}

const (
	idlePulse   = time.Second
	stopPulse   = 100 * time.Millisecond
	freezeSlack = 500 * time.Millisecond // lateness that a busy machine explains
)

func (p *pulse) start(now time.Time, every time.Duration) { p.last, p.every = now, every }

// beat returns for about how long the process was frozen since the last beat.
func (p *pulse) beat(now time.Time) time.Duration {
	elapsed := max(now.Sub(p.last), now.Round(0).Sub(p.last.Round(0)))
	p.last = now
	if late := elapsed - p.every; late > freezeSlack {
		return late
	}
	return 0
}

// beat is called at every tick of those who watch the time.
func (g *Group) beat() {
	now := time.Now()
	g.mu.Lock()
	frozen := g.pulse.beat(now)
	if frozen > 0 {
		g.thaw(now, frozen)
	}
	g.mu.Unlock()
	if frozen == 0 {
		return
	}
	g.journal.log(g.log, slog.LevelWarn, "the process was frozen", "for", frozen.Round(time.Millisecond))
	if g.cfg.OnThaw != nil {
		g.tellThawed(frozen)
	}
}

// tellThawed calls the hook as a goroutine of the group, or, when none may
// start any more, before the next log line.
func (g *Group) tellThawed(frozen time.Duration) {
	err := g.start(g.site(g.workEnd, EntryBackground, "thawed", 2), func(context.Context) error {
		g.cfg.OnThaw(frozen)
		return nil
	})
	if err != nil {
		g.journal.do(func() {
			defer g.recoverHook("Thawed")
			g.cfg.OnThaw(frozen)
		})
	}
}

// thaw looks at the deadlines again, with mu held. Those that passed while
// nobody could run would call everyone stuck who never had a chance: the
// reserve is given again, from now. That may be later than the platform's
// SIGKILL, which is no worse than giving up at once.
func (g *Group) thaw(now time.Time, frozen time.Duration) {
	if g.stopping() {
		g.report.Frozen += frozen
	}
	if g.at.interrupt.IsZero() || now.Before(g.at.interrupt) {
		return
	}
	var d deadlines
	g.budget.reserveFrom(&d, now)
	g.at.abandon = latest(g.at.abandon, d.abandon)
	g.at.close = latest(g.at.close, d.close)
	g.at.exit = latest(g.at.exit, d.exit)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (g *Group) recoverHook(name string) {
	if v := recover(); v != nil {
		g.log.Error("a hook panicked", "hook", name, "panic", v)
	}
}
