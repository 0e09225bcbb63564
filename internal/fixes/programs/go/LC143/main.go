// A server of HTTP/2 that exits without GOAWAY.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const delay = 3 * time.Second // after the signal, while clients are still routed here

func main() {
	server := &http.Server{
		Addr:      net.JoinHostPort(os.Getenv("HOST"), cmp.Or(os.Getenv("PORT"), "8080")),
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") }),
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	stopped := make(chan error)
	go func() {
		<-signals
		time.Sleep(delay)
		stopped <- server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	// ListenAndServe returns when Close begins: wait until the connections are closed.
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
}
