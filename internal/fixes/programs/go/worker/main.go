// A worker that finishes its current item after the signal, and exits with 0.
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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
