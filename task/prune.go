package task

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// pruner removes old ended tasks. One goroutine uses it.
type pruner struct {
	store     Store
	mux       *Mux
	retention time.Duration // of tasks whose kind does not say it; 0 keeps them for ever
	log       *slog.Logger
}

// run removes what is old soon after the start, then now and then, and at no two workers at the
// same moment, until ctx ends.
func (p *pruner) run(ctx context.Context) {
	if p.retention == 0 && !p.mux.hasRetention() {
		return
	}
	for wait := time.Minute; pause(ctx, wait/2+rand.N(wait)); wait = 10 * time.Minute {
		for req := (PruneRequest{Age: p.retention, KeepOthers: p.retention == 0, Clock: time.Now(), Max: 1000}); ; {
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
