package task

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// pruner removes old ended tasks, and keys whose time is over. One goroutine uses it.
type pruner struct {
	store     Store
	mux       *Mux
	retention time.Duration // of tasks whose kind does not say it; 0 keeps them for ever
	log       *slog.Logger
	clock     steadyClock
}

// run removes what is old soon after the start and then from time to time, until ctx ends. Workers
// do so at different times.
func (p *pruner) run(ctx context.Context) {
	p.clock.read()
	for wait := time.Minute; pause(ctx, wait/2+rand.N(wait)); wait = 10 * time.Minute {
		for req := (PruneRequest{Age: p.retention, KeepOthers: p.retention == 0, Clock: p.clock.read(), Max: 1000}); ; {
			done, err := p.store.Prune(ctx, req)
			if err != nil {
				if ctx.Err() == nil {
					p.log.Warn("old tasks not removed; trying again later", "error", err)
				}
				break
			}
			if req.After = done.Next; done.Next == "" || !pause(ctx, 50*time.Millisecond) {
				break
			}
		}
	}
}

// steadyClock is the wall clock, as long as that goes no more than twice as fast as the monotonic
// one. If the wall clock is set forward by a week, by mistake or by a wrong time server, it is
// believed a week later: what would be removed until a person notices would be gone for good. Where
// the store uses the clock of this machine, there is no other witness.
type steadyClock struct {
	wall func() time.Time // nil: time.Now
	last time.Time        // what was read last
	at   time.Time        // and when, by the monotonic clock
}

func (c *steadyClock) read() time.Time {
	at := time.Now()
	now := at.Round(0)
	if c.wall != nil {
		now = c.wall()
	}
	if most := c.last.Add(2 * at.Sub(c.at)); !c.last.IsZero() && now.After(most) {
		now = most
	}
	c.last, c.at = now, at
	return now
}
