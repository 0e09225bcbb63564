// A server that closes its WebSockets with a close frame before it exits with 0.
package main

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	delay    = 3 * time.Second // after the signal, while clients are still routed here
	patience = 2 * time.Second // for requests, and for the answers to close frames
)

// Frames, without a library for WebSockets.
var (
	message    = []byte("\x81\x05hello")
	closeFrame = []byte{0x88, 2, 0x03, 0xe9} // 1001: the server goes away
)

// Shutdown knows nothing of WebSockets: the server has handed their connections over.
var (
	closing = make(chan struct{}) // closed when the WebSockets have to be
	sockets sync.WaitGroup
)

func webSocket(w http.ResponseWriter, r *http.Request) {
	sockets.Add(1)
	defer sockets.Done()
	key := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(key[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		log.Print(err)
		return
	}
	defer conn.Close()
	for err == nil {
		_, err = conn.Write(message)
		select {
		case <-time.After(time.Second):
		case <-closing:
			conn.SetDeadline(time.Now().Add(patience))
			conn.Write(closeFrame)
			io.Copy(io.Discard, conn) // until the client has answered, and closed the connection
			return
		}
	}
}

func main() {
	http.HandleFunc("/ws", webSocket)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprintln(w, "hello")
	})
	server := &http.Server{Addr: net.JoinHostPort(os.Getenv("HOST"), cmp.Or(os.Getenv("PORT"), "8080"))}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	stopped := make(chan error)
	go func() {
		<-signals
		time.Sleep(delay)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := server.Shutdown(ctx)
		close(closing)
		sockets.Wait()
		stopped <- err
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	// ListenAndServe returns when Shutdown begins: wait until the connections have been closed.
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
}
