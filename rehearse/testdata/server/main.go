// Command server is a small server that can be stopped in many ways: the first argument chooses
// one.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func consume(messages <-chan string) {
	for range messages {
	}
}

func main() {
	how := os.Args[1]
	if confess(how) {
		return
	}
	if how == "ends" {
		fmt.Println("no database here")
		os.Exit(4)
	}
	unlock := func() {}
	switch how {
	case "locks": // a file that is there means that somebody runs
		if _, err := os.OpenFile(os.Getenv("LOCK"), os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		unlock = func() { os.Remove(os.Getenv("LOCK")) }
	case "flocks":
		f, err := os.OpenFile(os.Getenv("LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		unlock = func() { f.Close() }
	}
	if how = os.Args[len(os.Args)-1]; len(os.Args) > 2 {
		fmt.Println("it", how)
	}
	if how == "cleans" { // what another copy needs as well
		os.WriteFile(os.Getenv("LOCK"), nil, 0o600)
		unlock = func() { os.Remove(os.Getenv("LOCK")) }
	}
	var stopping atomic.Bool
	var server http.Server
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(time.Second)
		}
		if how == "noisy" {
			fmt.Println(strings.Repeat("x", 1<<20))
		}
		if _, err := os.Stat(os.Getenv("LOCK")); how == "cleans" && err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
		switch {
		case stopping.Load() && how == "errors":
			w.WriteHeader(http.StatusServiceUnavailable)
		case stopping.Load() && how == "hangs-up":
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
			return
		case stopping.Load():
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintln(w, "hello")
	})
	signals := make(chan os.Signal, 1)
	switch how {
	case "no-handler":
	case "ignores":
		signal.Ignore(syscall.SIGTERM)
	case "quits":
		signal.Notify(signals, syscall.SIGQUIT)
	default:
		signal.Notify(signals, syscall.SIGTERM)
	}
	listener, err := net.Listen("tcp", os.Getenv("ADDRESS"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	go server.Serve(listener)
	<-signals
	stopping.Store(true)
	if how == "twice" {
		stopped := make(chan struct{})
		close(stopped)
		go func() {
			for range signals {
				close(stopped)
			}
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch how {
	case "exits":
		os.Exit(0)
	case "hangs":
		for range 3 {
			go consume(make(chan string))
		}
		select {}
	case "at-once", "lingers":
	case "slowly":
		time.Sleep(4 * time.Second)
	default:
		time.Sleep(2 * time.Second)
	}
	if err := server.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	if how == "lingers" {
		time.Sleep(3 * time.Second)
	}
	if how == "says" {
		fmt.Println("stopped")
	}
	unlock()
	if how == "code" {
		os.Exit(3)
	}
}
