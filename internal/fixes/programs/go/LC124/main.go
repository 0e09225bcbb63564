// A worker that waits until somebody reads its log.
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	for ctx.Err() == nil {
		work()
		log.Print("one more item is done")
	}
	log.Print("stopped")
}
