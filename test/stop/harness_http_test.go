package stop_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// service is an HTTP server in a group, on a real socket.
type service struct {
	t     *testing.T
	g     *lastcall.Group
	addr  string
	log   transcript
	ended chan struct{}
}

// serve starts a server in a group with the given configuration. The options change the server
// before it starts.
func serve(t *testing.T, cfg lastcall.Config, handler http.HandlerFunc, options ...func(*http.Server)) *service {
	t.Helper()
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	for _, set := range options {
		set(srv)
	}
	return serveOn(t, cfg, srv, listen(t))
}

func serveOn(t *testing.T, cfg lastcall.Config, srv *http.Server, l net.Listener) *service {
	t.Helper()
	s := &service{t: t, addr: l.Addr().String(), ended: make(chan struct{})}
	cfg.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	if cfg.Delay == 0 {
		cfg.Delay = -1
	}
	// The clients of these tests disconnect in all kinds of ways.
	srv.ErrorLog = log.New(io.Discard, "", 0)
	g, err := lastcall.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.g = g
	if err := g.HTTP("api", srv, l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		g.Wait()
		if t.Failed() {
			t.Logf("log:\n%s", s.log.String())
		}
	})
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (s *service) stop() { s.g.Stop(nil) }

// logs waits for a line of the log that contains text.
func (s *service) logs(text string) {
	s.t.Helper()
	if s.log.await(text, s.ended) == "" {
		s.t.Fatalf("nothing logs %q", text)
	}
}

// finds checks that entries has one with this kind, name and count, and returns it.
func finds(t *testing.T, r lastcall.Report, entries []lastcall.Entry, kind lastcall.EntryKind, name string, count int) lastcall.Entry {
	t.Helper()
	for _, e := range entries {
		if e.Kind == kind && e.Name == name {
			if e.Count != count {
				t.Errorf("%s %s is there %d times, want %d", kind, name, e.Count, count)
			}
			return e
		}
	}
	t.Errorf("%s %s is not where it should be in the report:\n%s", kind, name, r)
	return lastcall.Entry{}
}

// exits checks the report's exit code.
func exits(t *testing.T, r lastcall.Report, code int) {
	t.Helper()
	if r.ExitCode() != code {
		t.Errorf("exit code %d, want %d:\n%s", r.ExitCode(), code, r)
	}
}

// newClient returns a client with connections of its own.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	body, err := fetch(client, url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// fetch returns the body of an answer, which must be complete and have the status 200.
func fetch(client *http.Client, url string) (string, error) {
	res, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(body), err
}

// answer is the result of a request in flight.
type answer struct {
	body string
	err  error
}

// fetching starts a request.
func fetching(client *http.Client, url string) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		body, err := fetch(client, url)
		c <- answer{body, err}
	}()
	return c
}

// arrives waits for a value that must arrive.
func arrives[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
		panic("unreachable")
	}
}

// dial opens a connection and sends nothing.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// keepAlive opens a connection, gets one answer, and keeps it open.
func keepAlive(t *testing.T, addr string) net.Conn {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return c
}

// closed checks that the server closes the connection.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	var timeout net.Error
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection is not closed: read %d bytes, %v", n, err)
	}
}

func fine(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }

// held is a handler that reports when it is entered, and answers when it is released.
type held struct{ entered, release chan struct{} }

func newHeld() held { return held{make(chan struct{}, 1), make(chan struct{})} }

func (h held) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.entered <- struct{}{}
	<-h.release
	_, _ = io.WriteString(w, "complete")
}

func nothing(context.Context) error { return nil }
