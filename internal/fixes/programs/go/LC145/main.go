// A server of lines on TCP that resets the connections that are open when it exits.
package main

import (
	"bufio"
	"cmp"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const delay = 3 * time.Second // after the signal, while clients are still routed here

func serve(conn *net.TCPConn) {
	defer conn.Close()
	conn.SetLinger(0) // no TIME_WAIT
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
			return // the listener is closed
		}
		go serve(conn.(*net.TCPConn))
	}
}
