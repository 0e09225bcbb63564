// Command talker is a small server of several protocols that can be stopped in many ways: the first
// argument chooses one. It serves HTTP and a WebSocket at ADDRESS, and lines of text at
// TCP_ADDRESS.
package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// talker is the server.
type talker struct {
	how      string
	stopping atomic.Bool   // the signal has come
	over     chan struct{} // closed when everything is to end
	held     sync.WaitGroup
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	t := &talker{how: os.Args[1], over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if t.how == "answers-late" && t.stopping.Load() {
			time.Sleep(8 * time.Second)
		}
		if t.how == "answers-never" && t.stopping.Load() {
			<-r.Context().Done()
			select {}
		}
		fmt.Fprintln(w, "hello")
	})
	mux.HandleFunc("/events", t.events)
	mux.HandleFunc("/ws", t.webSocket)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { time.Sleep(2 * time.Second) })
	mux.HandleFunc("/grpc.health.v1.Health/Check", t.check)
	mux.HandleFunc("/grpc.health.v1.Health/Watch", t.watch)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t.stopping.Load() && r.ProtoMajor == 1 { // in HTTP/2 it would become a GOAWAY
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})}
	go server.Serve(listen(os.Getenv("ADDRESS")))
	lines := listen(os.Getenv("TCP_ADDRESS"))
	go t.lines(lines)
	<-signals
	t.stopping.Store(true)
	time.Sleep(1500 * time.Millisecond)
	patience := 20 * time.Second
	switch t.how {
	case "waits-gracefully": // like GracefulStop of gRPC-Go
	case "stops-after-a-deadline": // like GracefulStop, and then Stop
		patience = time.Second
	case "waits":
		lines.Close()
		t.held.Wait()
	default:
		close(t.over)
		lines.Close()
		t.held.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if t.how == "no-goaway" {
		server.Close()
		return
	}
	err := server.Shutdown(ctx)
	if err != nil && t.how == "stops-after-a-deadline" {
		err = server.Close()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func listen(address string) net.Listener {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return l
}

// events is an event stream, which ends properly when the server stops.
func (t *talker) events(w http.ResponseWriter, r *http.Request) {
	if t.how == "cuts-streams" && r.ProtoMajor == 1 {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n")
		go t.each(func() error { _, err := io.WriteString(conn, "9\r\ndata: x\n\n\r\n"); return err })
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	t.held.Add(1)
	defer t.held.Done()
	t.each(func() error {
		if _, err := io.WriteString(w, "data: x\n\n"); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	if t.how == "cuts-streams" {
		panic(http.ErrAbortHandler)
	}
}

// check reports whether the service named talker is serving.
func (t *talker) check(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	status := "0"
	defer func() { w.Header().Set("Grpc-Status", status) }()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "\x00\x00\x00\x00\x08\x0a\x06talker" {
		fmt.Printf("a Check of %q: %v\n", body, err)
		return
	}
	if t.how == "unavailable" && t.stopping.Load() {
		status = "14"
	}
	io.WriteString(w, "\x00\x00\x00\x00\x02\x08\x01")
}

// watch reports that the service is serving, and ends when the server stops.
func (t *talker) watch(w http.ResponseWriter, r *http.Request) {
	t.held.Add(1)
	defer t.held.Done()
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	io.WriteString(w, "\x00\x00\x00\x00\x02\x08\x01")
	http.NewResponseController(w).Flush()
	select {
	case <-t.over:
	case <-r.Context().Done():
	}
	if t.how == "cuts-streams" {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Grpc-Status", "0")
}

// each does something ten times a second until the server stops.
func (t *talker) each(do func() error) {
	for {
		if do() != nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.over:
			return
		}
	}
}

// webSocket is a WebSocket that sends pings and messages.
func (t *talker) webSocket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	t.held.Add(1)
	go func() {
		defer t.held.Done()
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+
			base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		// A ping, which the client must answer, and a message of 300 bytes.
		message := append([]byte{0x89, 2, 'h', 'i', 0x82, 126, 1, 44}, make([]byte, 300)...)
		answer := make([]byte, 8)
		t.each(func() error {
			if _, err := conn.Write(message); err != nil {
				return err
			}
			_, err := io.ReadFull(rw, answer)
			return err
		})
		if t.how != "no-close-frame" {
			conn.Write([]byte{0x88, 2, 0x03, 0xe9}) // 1001
			io.ReadFull(rw, answer)
		}
	}()
}

// lines answers each line with pong.
func (t *talker) lines(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.held.Add(1)
		go func() {
			<-t.over
			if t.how == "resets" {
				conn.(*net.TCPConn).SetLinger(0)
			}
			conn.Close()
			t.held.Done()
		}()
		go func() {
			for in := bufio.NewScanner(conn); in.Scan(); {
				io.WriteString(conn, "pong\r\n")
			}
		}()
	}
}
