// A worker that exits with an error when it is stopped.
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
	return ctx.Err()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
