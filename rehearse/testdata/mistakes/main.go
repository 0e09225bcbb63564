// Command mistakes makes one of the mistakes of docs/mistakes.md: the one that the first argument
// names.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// hour is longer than any rehearsal.
const hour = time.Hour

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	mistakes := map[string]func(<-chan os.Signal){
		"3": shutdownWithTheContextOfTheSignal, "4": deadlineFromTheStart, "6": aBudgetOfTheWholeGrace, "7": timeoutsThatAddUp,
		"9": aChannelWithoutRoom, "10": theUncatchable, "11": aConnectionTakenOver, "16": anotherSignal, "18": exitInAGoroutine,
		"19": oneContext, "20": theDatabaseFirst, "22": somethingHangs, "23": aHookThatPanics,
	}
	mistakes[os.Args[1]](signals)
}

// serve begins to answer; answers at /slow take two seconds.
func serve(answer http.HandlerFunc) *http.Server {
	if answer == nil {
		answer = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(2 * time.Second)
			}
			fmt.Fprintln(w, "hello")
		}
	}
	server := &http.Server{Handler: answer}
	listener, err := net.Listen("tcp", os.Getenv("ADDRESS"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go server.Serve(listener)
	return server
}

func shutdownWithTheContextOfTheSignal(<-chan os.Signal) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := serve(nil)
	<-ctx.Done()
	server.Shutdown(ctx)
}

func deadlineFromTheStart(signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server := serve(nil)
	<-signals
	server.Shutdown(ctx)
}

// The grace period is four seconds, and the hook takes two of them.
func aBudgetOfTheWholeGrace(signals <-chan os.Signal) {
	<-signals
	time.Sleep(3 * time.Second)
}

func timeoutsThatAddUp(signals <-chan os.Signal) {
	<-signals
	for range 4 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		<-ctx.Done() // closing something takes all the time that it may
		cancel()
	}
}

func aChannelWithoutRoom(<-chan os.Signal) {
	signal.Reset(syscall.SIGTERM)
	signals := make(chan os.Signal)
	signal.Notify(signals, syscall.SIGTERM)
	for {
		select {
		case <-signals:
			return
		default:
			time.Sleep(100 * time.Millisecond) // an item
		}
	}
}

func theUncatchable(<-chan os.Signal) {
	signal.Reset(syscall.SIGTERM)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Kill)
	<-signals
}

func aConnectionTakenOver(signals <-chan os.Signal) {
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			fmt.Fprintln(w, "hello")
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
		time.Sleep(2 * time.Second)
		fmt.Fprintln(conn, "hello")
	})
	<-signals
	server.Shutdown(context.Background())
}

func anotherSignal(<-chan os.Signal) {
	signal.Reset(syscall.SIGTERM)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGQUIT)
	<-signals
}

func exitInAGoroutine(signals <-chan os.Signal) {
	server := serve(nil)
	stopping := make(chan struct{})
	go func() {
		<-stopping
		fmt.Println("the queue is closed")
		os.Exit(0)
	}()
	<-signals
	close(stopping)
	server.Shutdown(context.Background())
}

func oneContext(<-chan os.Signal) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		wait := time.Millisecond
		if r.URL.Path == "/slow" {
			wait = 2 * time.Second
		}
		select {
		case <-time.After(wait):
			fmt.Fprintln(w, "hello")
		case <-ctx.Done():
			http.Error(w, ctx.Err().Error(), http.StatusServiceUnavailable)
		}
	})
	<-ctx.Done()
	server.Shutdown(context.Background())
}

func theDatabaseFirst(signals <-chan os.Signal) {
	var closed atomic.Bool
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(time.Second)
		}
		if closed.Load() {
			http.Error(w, "sql: database is closed", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "hello")
	})
	<-signals
	closed.Store(true)
	server.Shutdown(context.Background())
}

func flushTheLogs() { time.Sleep(hour) }

func somethingHangs(signals <-chan os.Signal) {
	<-signals
	flushTheLogs()
}

func aHookThatPanics(signals <-chan os.Signal) {
	<-signals
	var queue map[string]int
	for _, hook := range []func(){func() { queue["left"]++ }, func() { fmt.Println("flushed") }} {
		hook()
	}
}
