package stop_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// upgrade requests an upgrade as a WebSocket client does, and returns the connection once the
// server has taken it over.
func upgrade(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c, "GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the server answered %s", res.Status)
	}
	return c, r
}

// hijack takes over a connection, as a WebSocket library does.
func hijack(t *testing.T, w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		panic(http.ErrAbortHandler)
	}
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if err := rw.Flush(); err != nil {
		t.Errorf("answer: %v", err)
	}
	return c, rw
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHijack_AHijackedConnectionHearsOfTheStopAndMaySayGoodbye(t *testing.T) {
	t.Parallel()
	s := serve(t, lastcall.Config{Grace: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		c, _ := hijack(t, w)
		stopping := lastcall.LastCall(r.Context())
		go func() { // it outlives its handler, as in many programs
			defer c.Close()
			<-stopping
			fmt.Fprintln(c, "goodbye")
		}()
	})
	_, r := upgrade(t, s.addr)
	s.stop()
	if got := line(t, r); got != "goodbye\n" {
		t.Errorf("the client heard %q", got)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the goodbye: %v, want EOF", err)
	}
	exits(t, s.g.Wait(), 0)
}

func TestHijack_ReadsOfAHijackedConnectionFailFromInterruptOnAndWritesDoNot(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	s := serve(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
		c, rw := hijack(t, w)
		defer c.Close()
		for {
			// As a WebSocket library does before each message.
			_ = c.SetReadDeadline(time.Now().Add(time.Hour))
			said, err := rw.ReadString('\n')
			if err != nil {
				failed <- err
				fmt.Fprintln(c, "interrupted")
				return
			}
			fmt.Fprint(c, said)
		}
	})
	c, r := upgrade(t, s.addr)
	for range 2 {
		fmt.Fprintln(c, "hello")
		if got := line(t, r); got != "hello\n" {
			t.Errorf("the echo is %q", got)
		}
	}
	s.stop()
	s.logs("phase=drain")
	fmt.Fprintln(c, "still there?") // during the drain it is still served
	if got := line(t, r); got != "still there?\n" {
		t.Errorf("in the drain the echo is %q", got)
	}
	if err := arrives(t, "the interrupt", failed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read failed with %v", err)
	}
	if got := line(t, r); got != "interrupted\n" {
		t.Errorf("the last write came as %q", got)
	}
	rep := s.g.Wait()
	finds(t, rep, rep.Interrupted, lastcall.EntryRequest, "api", 1)
	exits(t, rep, 75)
}

func TestHijack_AReadThatBeginsAfterInterruptFailsToo(t *testing.T) {
	t.Parallel()
	taken, proceed, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := serve(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		c, rw := hijack(t, w)
		defer c.Close()
		close(taken)
		<-r.Context().Done()
		<-proceed
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := rw.ReadString('\n')
		failed <- err
	})
	upgrade(t, s.addr)
	arrives(t, "the connection", taken)
	s.stop()
	s.logs("msg=interrupting")
	close(proceed)
	if err := arrives(t, "the interrupt", failed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read failed with %v", err)
	}
	exits(t, s.g.Wait(), 75)
}

func TestHijack_AHijackedConnectionIsClosedAndNamedAtAbandon(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	s := serve(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
		c, _ := hijack(t, w)
		<-release
		c.Close()
	})
	c, _ := upgrade(t, s.addr)
	s.stop()
	closed(t, c)
	r := s.g.Wait()
	finds(t, r, r.Abandoned, lastcall.EntryConnection, "api GET /socket", 1)
	exits(t, r, 3)
}

// events returns a handler of server-sent events.
func events(until func(*http.Request) <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		stream := http.NewResponseController(w)
		fmt.Fprint(w, "data: hello\n\n")
		_ = stream.Flush()
		<-until(r)
		fmt.Fprint(w, "data: goodbye\n\n")
		_ = stream.Flush()
	}
}

func TestStream_AnEventStreamEndsCleanly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		until func(*http.Request) <-chan struct{}
		code  int
	}{
		"at last call": {func(r *http.Request) <-chan struct{} { return lastcall.LastCall(r.Context()) }, 0},
		"at interrupt": {func(r *http.Request) <-chan struct{} { return r.Context().Done() }, 75},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, events(tc.until))
			res, err := newClient(t).Get("http://" + s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			stream := bufio.NewReader(res.Body)
			if got := line(t, stream); got != "data: hello\n" {
				t.Fatalf("the stream begins with %q", got)
			}
			s.stop()
			rest, err := io.ReadAll(stream)
			if err != nil || string(rest) != "\ndata: goodbye\n\n" {
				t.Errorf("the stream ended with %q, %v", rest, err)
			}
			exits(t, s.g.Wait(), tc.code)
		})
	}
}
