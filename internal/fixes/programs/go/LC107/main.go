// A worker that ends well when its author presses Ctrl-C, and only then.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
