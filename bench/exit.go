package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall"
)

// serverVariable makes this program act as the server of the exit measure.
const serverVariable = "LASTCALL_BENCH_SERVER"

// beServer runs a server if this process was started as one.
func beServer() {
	switch os.Getenv(serverVariable) {
	case "lastcall":
		os.Exit(lastcall.Main(lastcall.Config{Delay: -1, Logger: quiet}, func(_ context.Context, g *lastcall.Group) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			fmt.Println(l.Addr())
			return g.HTTP("api", &http.Server{}, l)
		}))
	case "shutdown":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			os.Exit(1)
		}
		srv := &http.Server{}
		go func() { _ = srv.Serve(l) }()
		fmt.Println(l.Addr())
		<-signals
		_ = srv.Shutdown(context.Background())
		os.Exit(0)
	}
}

func exitIdle() (float64, error)     { return exit("lastcall") }
func exitShutdown() (float64, error) { return exit("shutdown") }

// exit starts a server, connects to it, and measures from the signal to the end of the process.
func exit(which string) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serverVariable+"="+which)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Process.Kill() }()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, err
	}
	address = address[:len(address)-1]
	for i := range 9 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		if i == 0 {
			continue // the connection that is never used
		}
		if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	time.Sleep(200 * time.Millisecond) // let everything become idle
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	err = cmd.Wait()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("the server ended with %w", err)
	}
	return milliseconds(took), nil
}
