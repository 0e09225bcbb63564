// A worker that fills its cache at startup, and can be stopped meanwhile.
package main

import (
	"context"
	"os/signal"
	"syscall"
	"time"
)

func load(part int) { time.Sleep(200 * time.Millisecond) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for part := range 300 {
		if ctx.Err() != nil {
			return // nothing has begun yet
		}
		load(part)
	}
	<-ctx.Done() // the work
}
