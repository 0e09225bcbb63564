// A long job. At a stop the program waits for it, however long that takes.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func work() { time.Sleep(time.Hour) }

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
		return
	case <-signals:
	}
	log.Print("waiting for the job")
	<-done
}
