// A worker that ignores the stop signal: only SIGKILL ends it.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func work() { time.Sleep(200 * time.Millisecond) }

func run(ctx context.Context) error {
	for ctx.Err() == nil {
		work()
	}
	return nil // it was asked to stop: that is no error
}

func main() {
	signal.Ignore(syscall.SIGTERM)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
