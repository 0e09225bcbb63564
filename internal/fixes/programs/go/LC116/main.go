// A server that answers its liveness probe only when it has loaded its data.
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
	"sync/atomic"
	"syscall"
	"time"
)

const (
	delay    = 3 * time.Second  // after the signal, while clients are still routed here
	patience = 10 * time.Second // for requests: delay and patience fit into the grace period
)

var loaded, stopping atomic.Bool

func load() {
	time.Sleep(10 * time.Second)
	loaded.Store(true)
}

func answer(w http.ResponseWriter, r *http.Request) {
	if stopping.Load() {
		w.Header().Set("Connection", "close") // the next request goes to another pod
	}
	switch {
	case r.URL.Path == "/livez":
	case !loaded.Load(), r.URL.Path == "/readyz" && stopping.Load():
		w.WriteHeader(http.StatusServiceUnavailable) // it is alive, but should get no new clients
	}
	fmt.Fprintln(w, "hello")
}

func main() {
	server := &http.Server{
		Addr:    net.JoinHostPort(os.Getenv("HOST"), cmp.Or(os.Getenv("PORT"), "8080")),
		Handler: http.HandlerFunc(answer),
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	stopped := make(chan error)
	go func() {
		<-signals
		stopping.Store(true)
		time.Sleep(delay)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	load()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	// ListenAndServe returns when Shutdown begins: wait until the requests have been answered.
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
}
