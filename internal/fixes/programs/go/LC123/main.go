// A worker that crashes on a second stop signal.
package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

func work()  { time.Sleep(200 * time.Millisecond) }
func flush() { time.Sleep(time.Second) }

func main() {
	stopping := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		for range signals {
			close(stopping)
		}
	}()
	for {
		select {
		case <-stopping:
			flush()
			return
		default:
			work()
		}
	}
}
