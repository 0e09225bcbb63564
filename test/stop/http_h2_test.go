package stop_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
)

// dialect is a protocol variant that clients use with a server.
type dialect struct {
	proto string // what the server must see
	start func(t *testing.T, cfg lastcall.Config, handler http.HandlerFunc) (*service, *http.Client, string)
}

// overTLS serves TLS and offers the given protocols.
func overTLS(protocols ...string) func(*testing.T, lastcall.Config, http.HandlerFunc) (*service, *http.Client, string) {
	return func(t *testing.T, cfg lastcall.Config, handler http.HandlerFunc) (*service, *http.Client, string) {
		t.Helper()
		// This server only provides a certificate, and a client that trusts it.
		ca := httptest.NewUnstartedServer(nil)
		ca.EnableHTTP2 = true
		ca.StartTLS()
		t.Cleanup(ca.Close)
		l := tls.NewListener(listen(t), &tls.Config{Certificates: ca.TLS.Certificates, NextProtos: protocols})
		s := serveOn(t, cfg, &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}, l)
		return s, ca.Client(), "https://" + s.addr
	}
}

// unencrypted serves HTTP/2 without TLS, as behind a proxy or in a mesh.
func unencrypted(t *testing.T, cfg lastcall.Config, handler http.HandlerFunc) (*service, *http.Client, string) {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := serve(t, cfg, handler, func(srv *http.Server) { srv.Protocols = protocols })
	only := &http.Protocols{}
	only.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: only}
	t.Cleanup(transport.CloseIdleConnections)
	return s, &http.Client{Transport: transport, Timeout: patience}, "http://" + s.addr
}

var dialects = map[string]dialect{
	"HTTP1 over TLS":    {"HTTP/1.1", overTLS("http/1.1")},
	"HTTP2 over TLS":    {"HTTP/2.0", overTLS("h2", "http/1.1")},
	"HTTP2 without TLS": {"HTTP/2.0", unencrypted},
}

func TestHTTP2_ASlowRequestFinishesInTheDrainInEveryDialect(t *testing.T) {
	t.Parallel()
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// If a body fits in a write buffer, none of it has been sent when the handler returns.
			for _, size := range []int{0, 10, 3000, 1 << 20} {
				h := newHeld()
				proto := make(chan string, 1)
				s, client, url := d.start(t, lastcall.Config{Grace: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
					proto <- r.Proto
					h.ServeHTTP(w, r)
					_, _ = io.WriteString(w, strings.Repeat("x", size))
				})
				var slow []<-chan answer
				for range 3 {
					slow = append(slow, fetching(client, url))
					arrives(t, "the request", h.entered)
					if got := arrives(t, "the protocol", proto); got != d.proto {
						t.Fatalf("the request came by %s, want %s", got, d.proto)
					}
				}
				s.stop()
				s.logs("phase=drain")
				close(h.release)
				for _, a := range slow {
					if a := arrives(t, "the answer", a); a.err != nil || len(a.body) != len("complete")+size {
						t.Errorf("a slow request of %d bytes ended with %d bytes, %v", size, len(a.body), a.err)
					}
				}
				watch := stopwatch.Start(t)
				r := s.g.Wait()
				// A client that has its answers before it receives GOAWAY may keep the connection open. The
				// server allows it one second.
				watch.AtMost(2*time.Second, "the stop after the last answer")
				exits(t, r, 0)
				finds(t, r, r.Finished, lastcall.EntryRequest, "api", 3)
			}
		})
	}
}

func TestHTTP2_IdleConnectionsHoldUpNoStopInAnyDialect(t *testing.T) {
	t.Parallel()
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client, url := d.start(t, lastcall.Config{Grace: time.Minute}, fine)
			get(t, client, url)
			unused := dial(t, s.addr)
			time.Sleep(1100 * time.Millisecond) // let the connection be idle for that long
			watch := stopwatch.Start(t)
			s.stop()
			r := s.g.Wait()
			t.Logf("the stop took %v", watch.AtMost(250*time.Millisecond, "a stop with nothing to do"))
			exits(t, r, 0)
			closed(t, unused)
		})
	}
}

func TestHTTP2_ConnectionThatIsStillWarmIsClosedWithinASecond(t *testing.T) {
	t.Parallel()
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client, url := d.start(t, lastcall.Config{Grace: time.Minute}, fine)
			get(t, client, url)
			watch := stopwatch.Start(t)
			s.stop()
			r := s.g.Wait()
			watch.AtMost(2*time.Second, "a stop with nothing to do")
			exits(t, r, 0)
		})
	}
}

func TestHTTP2_DuringTheDelayEveryDialectTellsClientsToGoElsewhere(t *testing.T) {
	t.Parallel()
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotes := make(chan string, 1)
			s, client, url := d.start(t, lastcall.Config{Grace: time.Minute, Delay: 3 * time.Second},
				func(w http.ResponseWriter, r *http.Request) {
					remotes <- r.RemoteAddr
					fine(w, r)
				})
			get(t, client, url)
			first := arrives(t, "the request", remotes)
			get(t, client, url)
			if again := arrives(t, "the request", remotes); again != first {
				t.Fatalf("before last call a client came from %s, then from %s: its connection was not kept", first, again)
			}
			s.stop()
			// The answer to this request announces that the connection closes. HTTP/2 announces that in a
			// frame, which may arrive a moment later.
			get(t, client, url)
			arrives(t, "the request", remotes)
			for deadline := time.Now().Add(patience); ; {
				get(t, client, url)
				if arrives(t, "the request", remotes) != first {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the client was never told to open another connection")
				}
			}
		})
	}
}
