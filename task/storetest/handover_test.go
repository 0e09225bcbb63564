package storetest

import (
	"context"

	"github.com/lastcall-go/lastcall/task"
)

// deafToStops has Wait hear of nothing but tasks and commands.
func deafToStops(b *broken) {
	b.wait = func(ctx context.Context, seen task.Generations) (now task.Generations, err error) {
		for now = seen; err == nil && now.Tasks == seen.Tasks && now.Commands == seen.Commands; {
			now, err = b.Store.Wait(ctx, now)
		}
		now.Workers = 1
		return now, err
	}
}
