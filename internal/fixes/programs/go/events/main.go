// A server that ends its event streams before it exits with 0.
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
	delay    = 3 * time.Second // after the signal, while clients are still routed here
	patience = 5 * time.Second // for requests: delay and patience fit into the grace period
)

var stopping atomic.Bool

// streams is done when the streams have to end. Shutdown waits for them, but ends none.
var streams, endStreams = context.WithCancel(context.Background())

func answer(w http.ResponseWriter, r *http.Request) {
	if stopping.Load() {
		w.Header().Set("Connection", "close") // the next request goes to another pod
	}
	if r.URL.Path == "/events" {
		stream(w, r)
		return
	}
	fmt.Fprintln(w, "hello")
}

// stream sends events. The end of a stream is marked when it returns: then the client asks again.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		fmt.Fprint(w, "data: hello\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done(): // the client has gone
			return
		case <-streams.Done():
			return
		}
	}
}

func main() {
	server := &http.Server{
		Addr:    net.JoinHostPort(os.Getenv("HOST"), cmp.Or(os.Getenv("PORT"), "8080")),
		Handler: http.HandlerFunc(answer),
	}
	server.RegisterOnShutdown(endStreams)
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
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	// ListenAndServe returns when Shutdown begins: wait until the requests have been answered.
	if err := <-stopped; err != nil {
		log.Print(err)
	}
}
