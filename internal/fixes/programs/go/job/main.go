// A long job. At a stop it gets some seconds to finish, or else it is handed over.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const patience = 2 * time.Second // it is shorter than the grace period

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
	select {
	case <-done:
	case <-time.After(patience):
		log.Print("not finished: the next one starts it again")
	}
}
