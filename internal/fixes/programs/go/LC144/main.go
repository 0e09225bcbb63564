// A server that closes its database connection at the signal, and then connects for each request.
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

// connection stands for one to a database.
type connection struct{}

func connect() *connection {
	time.Sleep(4 * time.Second) // TLS, a login, and a cold cache
	return &connection{}
}

func (*connection) query() string { return "hello" }

var (
	database atomic.Pointer[connection]
	stopping atomic.Bool
)

func answer(w http.ResponseWriter, r *http.Request) {
	c := database.Load()
	if c == nil {
		c = connect() // for this request alone
	}
	if stopping.Load() {
		w.Header().Set("Connection", "close") // the next request goes to another pod
	}
	fmt.Fprintln(w, c.query())
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	database.Store(connect())
	server := &http.Server{
		Addr:    net.JoinHostPort(os.Getenv("HOST"), cmp.Or(os.Getenv("PORT"), "8080")),
		Handler: http.HandlerFunc(answer),
	}
	stopped := make(chan error)
	go func() {
		<-signals
		stopping.Store(true)
		database.Store(nil) // closed
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
		log.Fatal(err)
	}
}
