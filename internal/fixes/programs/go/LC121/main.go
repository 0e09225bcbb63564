// A worker that takes commands on a Unix socket, and does not start again after a crash.
package main

import (
	"cmp"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	path := cmp.Or(os.Getenv("SOCKET"), "/tmp/worker.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	if err := listener.Close(); err != nil { // it removes the socket
		log.Fatal(err)
	}
}
