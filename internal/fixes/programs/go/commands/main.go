// A worker that takes commands on a Unix socket, and starts again after a crash.
package main

import (
	"cmp"
	"errors"
	"io/fs"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	path := cmp.Or(os.Getenv("SOCKET"), "/tmp/worker.sock")
	// A killed process leaves its socket behind.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Fatal(err)
	}
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
