// A server of HTTP/2 that sends GOAWAY on its connections, and exits with 0.
package main

import (
	"cmp"
	"context"
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

const (
	delay    = 3 * time.Second // after the signal, while clients are still routed here
	patience = 5 * time.Second // for requests: delay and patience fit into the grace period
)

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
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- server.Shutdown(ctx) // a client that gets GOAWAY sends its next request to another pod
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	// ListenAndServe returns when Shutdown begins: wait until the requests have been answered.
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
}
