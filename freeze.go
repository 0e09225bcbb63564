package lastcall

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"
)

// beat is called at every tick, by Main and by the driver of a stop. If the process
// was frozen since the last beat, it moves the deadlines, logs that and calls OnThaw.
func (g *Group) beat() {
	now := time.Now()
	g.mu.Lock()
	frozen := g.pulse.beat(now)
	if frozen > 0 {
		if g.stopping() {
			g.report.Frozen += frozen
		}
		g.budget.thaw(&g.at, now)
	}
	g.mu.Unlock()
	if frozen == 0 {
		return
	}
	g.journal.log(g.log, slog.LevelWarn, "the process was frozen", "for", frozen.Round(time.Millisecond))
	if g.cfg.OnThaw != nil {
		g.callOnThaw(frozen)
	}
}

// callOnThaw calls the hook in a goroutine of the group or, if the group starts no more
// goroutines, through the journal.
func (g *Group) callOnThaw(frozen time.Duration) {
	err := g.start(g.site(g.workEnd, EntryBackground, "thaw", 2), func(context.Context) error {
		g.cfg.OnThaw(frozen)
		return nil
	})
	if err != nil {
		g.journal.do(func() {
			defer g.recoverHook("OnThaw")
			g.cfg.OnThaw(frozen)
		})
	}
}

// recoverHook logs the panic of a user's function that runs in no goroutine of the
// group. It must be deferred.
func (g *Group) recoverHook(name string) {
	if v := recover(); v != nil {
		g.log.Error("a hook panicked", "hook", name, "panic", v, "stack", string(debug.Stack()))
	}
}
