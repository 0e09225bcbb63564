package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// dial connects to an address until the test ends, for reads that take no longer than patience.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// promising are requests, each refused or answered without its body, that announce a body and send
// none.
var promising = map[string]int{
	"POST /v1/tasks":        http.StatusUnauthorized,
	"POST /v1/tasks/batch":  http.StatusUnauthorized,
	"POST /nowhere":         http.StatusNotFound,
	"PUT /v1/tasks":         http.StatusMethodNotAllowed,
	"GET /v1/openapi.json":  http.StatusOK,
	"GET /healthz":          http.StatusOK,
	"POST /readyz":          http.StatusMethodNotAllowed,
	"GET /metrics":          http.StatusUnauthorized,
	"POST /v1/queues/q/foo": http.StatusNotFound,
}

func TestUnread_ABodyThatIsPromisedAndNotSentHoldsUpNeitherTheAnswerNorTheStop(t *testing.T) {
	for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		store, log := memstore.New(), slog.New(slog.DiscardHandler)
		g, err := lastcall.New(t.Context(), lastcall.Config{Grace: 20 * time.Second, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tokens := openTokens(t, "reader read "+readSecret)
		h, err := New(Config{Store: store, Addr: l.Addr(), Tokens: tokens, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/v1/", h)
		mux.Handle("/metrics", tokens.Require(RoleRead, h))
		mux.Handle("/", ProbeHandler(ProbeConfig{Store: store, Logger: log}))
		srv := NewServer(mux, log)
		srv.ReadTimeout = time.Hour // which a client can use up
		if err := g.HTTP("api", srv, l); err != nil {
			t.Fatal(err)
		}
		var open []net.Conn
		for line, want := range promising {
			conn := dial(t, l.Addr().String())
			open = append(open, conn)
			if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n\r\n", line, length); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s, %s: no answer: %v", line, length, err)
			}
			if r.StatusCode != want || !r.Close {
				t.Errorf("%s, %s: %d, want %d; closes %v", line, length, r.StatusCode, want, r.Close)
			}
			_ = r.Body.Close()
		}
		g.Stop(nil)
		report := g.Wait()
		if report.ExitCode() != 0 || report.Took > 15*time.Second {
			t.Errorf("%s", report)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}
}

func TestUnread_ABodyThatWasReadKeepsTheConnection(t *testing.T) {
	s := serve(t, Config{})
	conn := dial(t, strings.TrimPrefix(s.url, "http://"))
	in := bufio.NewReader(conn)
	for i, body := range []string{`{"kind": "k", "payload": 1}`, `nonsense`, `{"kind": "k", "payload": 2}`} {
		if _, err := fmt.Fprintf(conn, "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(in, nil)
		if err != nil || r.Close {
			t.Fatalf("request %d: %v, %+v", i, err, r)
		}
		_, _ = io.Copy(io.Discard, r.Body) // the next answer reads up to its end
		_ = r.Body.Close()
	}
}
