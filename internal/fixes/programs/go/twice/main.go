// A worker that tolerates a second stop signal.
package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func work()  { time.Sleep(200 * time.Millisecond) }
func flush() { time.Sleep(time.Second) }

func main() {
	stopping := make(chan struct{})
	stop := sync.OnceFunc(func() { close(stopping) }) // however often it is called
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		for range signals {
			stop()
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
