package storetest

import (
	"context"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// deafToStops lets Wait report only tasks and commands.
func deafToStops(b *broken) {
	b.wait = func(ctx context.Context, seen task.Generations) (now task.Generations, err error) {
		for now = seen; err == nil && now.Tasks == seen.Tasks && now.Commands == seen.Commands; {
			now, err = b.Store.Wait(ctx, now)
		}
		now.Workers = 1
		return now, err
	}
}

// losesPlace releases a task to the end of the line.
func losesPlace(c *task.Change) { c.RunAt = time.Time{} }
