package test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowClients is how many concurrent connections never send a whole request.
const slowClients = 10_000

// openFiles raises the limit of open files of this process, and of the server that it starts.
func openFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("%d open files: run as root, or raise the hard limit (ulimit -Hn %d): %v", n, n, err)
	}
}

// slowBegins are what the slow clients send, in turn, and how long the server waits for more.
var slowBegins = []struct {
	text  string
	limit time.Duration
}{
	{"", 10 * time.Second},
	{"POST /v1/tasks HT", 10 * time.Second},
	{"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 10 * time.Second},
	{"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{\"kind\": ", 30 * time.Second},
	{"POST /v1/tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"kin\r\n", 30 * time.Second},
}

// crowd is a set of slow clients, with the time at which each was opened.
type crowd struct {
	t      *testing.T
	conns  []net.Conn
	opened []time.Time
}

// connect opens the connections of a crowd. Each sends all that it will ever send, except for the
// trickle.
func connect(t *testing.T, s *server) *crowd {
	t.Helper()
	c := &crowd{t: t}
	t.Cleanup(func() {
		for _, conn := range c.conns {
			_ = conn.Close() // usually the server has closed it
		}
	})
	var d net.Dialer
	for i := range slowClients {
		conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		c.conns, c.opened = append(c.conns, conn), append(c.opened, time.Now())
		if _, err := io.WriteString(conn, slowBegins[i%len(slowBegins)].text); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	t.Logf("%d connections after %v; the server has %d files open", slowClients, time.Since(c.opened[0]), openedFiles(t, s.pid()))
	return c
}

// trickle makes every hundredth client send a byte now and then, which must not extend its time,
// until end is closed.
func (c *crowd) trickle(end <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		for i := 0; i < slowClients; i += 101 { // some of every kind
			_, _ = io.WriteString(c.conns[i], " ") // this fails once the server has closed it
		}
	}
}

// dropped waits until the server has closed every connection, and returns how long the last one was
// open. One reader is enough for all of them, in the order in which they end.
func (c *crowd) dropped() (last time.Duration) {
	c.t.Helper()
	const slack = 20 * time.Second // for a busy machine
	for _, limit := range []time.Duration{10 * time.Second, 30 * time.Second} {
		for i, conn := range c.conns {
			begin := slowBegins[i%len(slowBegins)]
			if begin.limit != limit {
				continue
			}
			_ = conn.SetReadDeadline(c.opened[i].Add(limit + slack)) // it has a deadline
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				c.t.Fatalf("connection %d, of which %q was sent, is still open %v after its limit of %v", i, begin.text, slack, limit)
			}
			last = max(last, time.Since(c.opened[i]))
		}
	}
	return last
}

func TestSlowClients_TenThousandSlowClientsAreDroppedInTimeNeedLittleMemoryAndHoldUpNobody(t *testing.T) {
	t.Parallel()
	openFiles(t, slowClients+1000)
	s := start(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"))
	before := peakMemory(t, s)
	c := connect(t, s)
	end := make(chan struct{})
	var trickle sync.WaitGroup
	trickle.Go(func() { c.trickle(end) })
	defer trickle.Wait()
	defer close(end)
	for range 10 {
		began := time.Now()
		submitTo(s, "nobody-knows", "{}")
		if got := s.status("/v1/tasks"); got != http.StatusOK {
			t.Errorf("a list alongside slow clients: %d", got)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a submit and a list alongside %d slow clients took %v", slowClients, took)
		}
	}

	last := c.dropped()
	grown := peakMemory(t, s) - before
	t.Logf("all are closed, the last one was open for %v; the server grew by %d MiB", last, grown>>20)
	if grown > slowClients*(48<<10) {
		t.Errorf("the server grew by %d KiB for each slow client", grown/slowClients>>10)
	}
	s.until("rid of their files", func() bool { return openedFiles(t, s.pid()) < 200 })
	if out := command(t, "list", "--server", s.url); strings.Count(string(out), "queued") != 10 {
		t.Errorf("a slow client's task was accepted, or another one lost:\n%s", out)
	}
	stop(s)
}

// openedFiles returns how many files a process has open.
func openedFiles(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
