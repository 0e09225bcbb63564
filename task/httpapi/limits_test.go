package httpapi

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLimits_ThousandsOfSlowClientsAreBoundedInTimeAndHoldUpNobody opens connections that never
// send a whole request, in several ways, and sends proper requests meanwhile.
func TestLimits_ThousandsOfSlowClientsAreBoundedInTimeAndHoldUpNobody(t *testing.T) {
	const slow = 2000
	const limit = 2 * time.Second
	s := serve(t, Config{}, func(srv *http.Server) {
		if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 0 {
			t.Fatal("a server without limits")
		}
		srv.ReadHeaderTimeout, srv.ReadTimeout = limit, limit // not 30 s
	})
	begins := []string{
		"",
		"POST /v1/tasks HT",
		"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
		"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{\"kind\": ",
		"POST /v1/tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"kin\r\n",
	}
	var (
		d       net.Dialer
		clients sync.WaitGroup
		mu      sync.Mutex
		longest time.Duration
	)
	for i := range slow {
		conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		opened := time.Now()
		if _, err := io.WriteString(conn, begins[i%len(begins)]); err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer conn.Close()
			_ = conn.SetReadDeadline(opened.Add(patience))
			if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("connection %d is still open after %v", i, patience)
			}
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(opened))
		})
	}
	c := s.client("")
	for i := range 20 {
		began := time.Now()
		if _, err := c.Enqueue(t.Context(), "k", fmt.Appendf(nil, "%d", i), nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a submit beside %d slow clients took %v", slow, took)
		}
	}
	clients.Wait()
	t.Logf("the last of %d slow connections was closed after %v", slow, longest)
}

func TestLimits_AHeaderThatIsTooLargeIsRefused(t *testing.T) {
	s := serve(t, Config{})
	if r := s.ask("GET", "/v1/tasks", "", set("X-Large", strings.Repeat("x", 128<<10))); r.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d %s", r.status, r.body)
	}
}
