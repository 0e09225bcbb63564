// A server of lines on TCP that closes its connections, resets none, and exits with 0.
package main

import (
	"bufio"
	"cmp"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	delay    = 3 * time.Second // after the signal, while clients are still routed here
	patience = 5 * time.Second // for clients that do not close their side
)

var (
	closing     = make(chan struct{}) // closed when the connections have to be
	connections sync.WaitGroup
)

func serve(conn *net.TCPConn) {
	defer conn.Close()
	done := make(chan struct{})
	defer close(done)
	connections.Go(func() {
		select {
		case <-closing:
			// No answer is lost: the client reads up to the end, and then closes its side. Close alone
			// resets the connection if something has arrived that was not read.
			conn.CloseWrite()
			conn.SetReadDeadline(time.Now().Add(patience))
		case <-done:
		}
	})
	for in := bufio.NewScanner(conn); in.Scan(); {
		io.WriteString(conn, "pong\n")
	}
}

func main() {
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), cmp.Or(os.Getenv("PORT"), "8080")))
	if err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		time.Sleep(delay)
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			break // the listener is closed
		}
		connections.Go(func() { serve(conn.(*net.TCPConn)) })
	}
	close(closing)
	connections.Wait()
}
