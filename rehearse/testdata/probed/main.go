// Command probed is a program with probes, or a sidecar, that does one thing wrong: the one that
// the first argument names.
package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	how := os.Args[1]
	if how == "slow start" {
		time.Sleep(2500 * time.Millisecond)
	}
	signals := make(chan os.Signal, 1)
	if how == "deaf" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	}
	address := os.Getenv("ADDRESS")
	if address == "" { // a sidecar
		if how == "ends" {
			time.Sleep(time.Second)
			return
		}
		if how == "deaf" {
			time.Sleep(time.Hour)
		}
		<-signals
		return
	}
	var stopping atomic.Bool
	var first atomic.Int64 // when it was asked first, in nanoseconds
	busy := func() bool {
		now := time.Now().UnixNano()
		first.CompareAndSwap(0, now)
		since := time.Duration(now - first.Load())
		return !stopping.Load() && since > 200*time.Millisecond && since < 600*time.Millisecond
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if stopping.Load() {
			w.Header().Set("Connection", "close")
		}
	})
	answer := func(path string, ok func() bool) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if !ok() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}
	answer("/readyz", func() bool {
		return (!stopping.Load() || how == "stays ready") && (how != "busy" || !busy())
	})
	answer("/livez", func() bool {
		return (!stopping.Load() || how != "dead while stopping") && (how != "not alive" || !busy())
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	server := http.Server{Handler: mux}
	go server.Serve(listener)
	<-signals
	stopping.Store(true)
	time.Sleep(2 * time.Second)
	if how == "slow end" {
		time.Sleep(2 * time.Second)
	}
	server.Shutdown(context.Background())
}
