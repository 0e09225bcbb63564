// A worker that finishes the item at which the signal finds it, and ends with 0.
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
	return nil // it was told to stop: that is no error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
