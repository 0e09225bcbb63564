package rehearse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// targets returns checked targets.
func targets(t *testing.T, given ...Target) (checked []*target) {
	t.Helper()
	for _, one := range given {
		c, err := newTarget(one, false)
		if err != nil {
			t.Fatal(err)
		}
		checked = append(checked, c)
	}
	return checked
}

// If a server answers nothing, a thousand requests must not become ten thousand. Those that were
// not sent are reported.
func TestTraffic_WhatIsTooMuchIsNotSentAndSaid(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr := newTraffic(targets(t, Target{URL: "http://" + l.Addr().String()}), maxRate)
	for deadline := time.Now().Add(8 * time.Second); tr.counts().notSent == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody says that requests are not sent")
		}
	}
	tr.stop()
	if n := tr.counts(); n.answered != 0 || n.failed != 0 {
		t.Errorf("%+v, and nothing was answered or failed", n)
	}
}

// accepting calls a function for each connection to the address that it returns.
func accepting(t *testing.T, each func(*net.TCPConn)) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			each(conn.(*net.TCPConn))
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

// replies is a server that reads a request and writes an answer.
func replies(answer string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, answer)
	}
}

func TestTraffic_EachFailureIsToldFromTheOthers(t *testing.T) {
	resets := func(answer string) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			replies(answer)(c)
			_ = c.SetLinger(0)
		}
	}
	for name, c := range map[string]struct {
		server func(*net.TCPConn)
		want   failure
		text   string
	}{
		"closed":                    {func(*net.TCPConn) {}, dropped, ""},
		"closed after the request":  {replies(""), dropped, "EOF"},
		"reset":                     {resets(""), reset, "reset"},
		"half a header":             {replies("HTTP/1.1 200 OK\r\nContent-Le"), cut, "EOF"},
		"half a body":               {replies("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), cut, "EOF"},
		"reset in the body":         {resets("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), cut, ""},
		"a chunk without an end":    {replies("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), cut, "EOF"},
		"503":                       {replies("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), serverSaid, "503 Service Unavailable"},
		"no HTTP":                   {replies("hello\r\n\r\n"), otherwise, "malformed"},
		"404":                       {replies("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "", ""},
		"102 before 200":            {replies("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "", ""},
		"a body that ends with it":  {replies("HTTP/1.0 200 OK\r\n\r\nhello"), "", ""},
		"an answer before the body": {func(c *net.TCPConn) { _, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n") }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTraffic(nil, 1)
			defer tr.stop()
			to := targets(t, Target{URL: "http://" + accepting(t, c.server)})[0]
			tr.askOnce(to)
			var got result
			if len(tr.failed) > 0 {
				got = tr.failed[0]
			}
			if name == "closed" && got.failure == reset { // depending on whether the request is in time
				got.failure = dropped
			}
			if got.failure != c.want || !strings.Contains(got.text, c.text) || tr.counts().answered+len(tr.failed) != 1 {
				t.Errorf("%q, %q; want %q with %q", got.failure, got.text, c.want, c.text)
			}
		})
	}
	tr := newTraffic(nil, 1)
	defer tr.stop()
	if tr.askOnce(targets(t, Target{URL: "http://127.0.0.1:1"})[0]); len(tr.failed) != 1 || tr.failed[0].failure != refused {
		t.Errorf("nobody listens: %v", tr.failed)
	}
}

func TestTraffic_WhatThisMachineCannotSendBlamesNobody(t *testing.T) {
	tr := newTraffic(nil, 1)
	defer tr.stop()
	to := targets(t, Target{URL: "http://127.0.0.1:1"})[0]
	for _, short := range []error{syscall.EMFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS} {
		tr.add(to, newConnection, time.Now(), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", short)}, 0)
	}
	if got := tr.counts(); len(tr.failed) != 0 || got != (tally{notSent: 3}) {
		t.Errorf("%+v, %v; want three that were not sent", got, tr.failed)
	}
}

// A server may time out a client that has no processor for a second.
func TestTraffic_WhatFailsWhenThisProcessWasLateBlamesNobody(t *testing.T) {
	for _, c := range []struct {
		took, late time.Duration
		want       tally
	}{
		{3 * time.Second, 0, tally{failed: 1}},
		{time.Second, tooLate - 1, tally{failed: 1}},
		{3 * time.Second, 2 * tooLate, tally{notSent: 1}},
		// It has waited for longer than this process was late.
		{8 * time.Second, 2 * tooLate, tally{failed: 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := &traffic{ctx: t.Context(), tallies: map[tallied]*tally{}}
			begun := time.Now()
			time.Sleep(c.took)
			tr.late.add(c.late)
			tr.add(nil, newConnection, begun, io.EOF, 0)
			if got := tr.counts(); got != c.want {
				t.Errorf("%v of %v late: %+v, want %+v", c.late, c.took, got, c.want)
			}
		})
	}
}

// A request that failed is judged by its failure, however long it took. Answers are late only if
// earlier ones were quicker.
func TestTraffic_OnlyAnswersAndSilenceAreLate(t *testing.T) {
	for _, c := range []struct {
		what   string
		before time.Duration // the slowest answer before the stop, 0 for none
		err    error
		status int
		late   bool
	}{
		{"an answer", time.Millisecond, nil, http.StatusOK, true},
		{"an answer as before", time.Second, nil, http.StatusOK, false},
		{"an answer, and none before", 0, nil, http.StatusOK, false},
		{"no answer in time", time.Millisecond, os.ErrDeadlineExceeded, 0, true},
		{"a reset", time.Millisecond, syscall.ECONNRESET, 0, false},
		{"an error", time.Millisecond, nil, http.StatusServiceUnavailable, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			to := targets(t, Target{URL: "http://127.0.0.1:1"})[0]
			tr := &traffic{ctx: t.Context(), tallies: map[tallied]*tally{{to, newConnection}: {slowest: c.before}}, stopping: true}
			r := &rehearsal{config: &Config{}, plan: Delete.plan(), traffic: tr, deleted: time.Now()}
			begun := time.Now()
			time.Sleep(4 * time.Second)
			tr.add(to, newConnection, begun, c.err, c.status)
			late := false
			r.judgeSlow(func(code Code, _ bool, _ string, _ ...any) { late = late || code == AnswersLate })
			if late != c.late {
				t.Errorf("%s: late is %v, want %v", c.what, late, c.late)
			}
		})
	}
}

// On a busy machine a client may see late that the program has closed its connection.
func TestTraffic_DrainWaitsForTheClientsOfAProgramThatHasEnded(t *testing.T) {
	t.Parallel()
	var ending sync.WaitGroup
	ending.Add(1)
	tr := newTraffic(targets(t, Target{URL: "http://" + accepting(t, func(*net.TCPConn) { ending.Wait() }), Use: Stream}), 1)
	defer tr.stop()
	for tr.connected.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	tr.remove(time.Now())
	begun := time.Now()
	if tr.drain(t.Context()); time.Since(begun) < drainTime || tr.connected.Load() == 0 {
		t.Errorf("after %v it does not wait for connected clients", time.Since(begun))
	}
	time.AfterFunc(drainTime/4, ending.Done)
	tr.drain(t.Context())
	if got := tr.counts(); tr.connected.Load() != 0 || got.failed != 1 {
		t.Errorf("%d are connected, %+v", tr.connected.Load(), got)
	}
}

func TestTraffic_SendsTheMethodTheHeaderAndTheBody(t *testing.T) {
	var asked atomic.Int64
	said := make(chan string, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if asked.Add(1) <= 100 {
			said <- fmt.Sprint(r.Method, " ", r.Host, r.RequestURI, " ", r.Header.Get("X-Kind"), " ", string(body), " ", r.Close)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // about clients that were closed
	server.StartTLS()
	defer server.Close()
	tr := newTraffic(targets(t, Target{
		URL: server.URL + "/a?b=c", Method: "PUT", Body: `{"d": 1}`, Header: http.Header{"Host": {"api.example"}, "X-Kind": {"k"}},
	}), 100)
	want := map[string]bool{`PUT api.example/a?b=c k {"d": 1} true`: false, `PUT api.example/a?b=c k {"d": 1} false`: false}
	for range 100 {
		text := <-said
		if _, ok := want[text]; !ok {
			t.Errorf("got %q", text)
		}
		want[text] = true
	}
	tr.stop()
	for text, seen := range want {
		if !seen {
			t.Errorf("no %q", text)
		}
	}
	if len(tr.failed) > 0 || tr.counts().answered < 90 {
		t.Errorf("%+v, %+v", tr.counts(), tr.failed)
	}
}

func TestTraffic_TheEndpointGoesAndComesBack(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	tr := newTraffic(targets(t, Target{URL: server.URL}), 200)
	defer tr.stop()
	grows := func(within time.Duration) bool {
		before := connections.Load()
		for deadline := time.Now().Add(within); time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
			if connections.Load() > before {
				return true
			}
		}
		return false
	}
	if !grows(20 * time.Second) {
		t.Error("nobody connects")
	}
	gone := time.Now()
	tr.remove(gone)
	for deadline := gone.Add(20 * time.Second); grows(time.Second); { // who was about to connect
		if time.Now().After(deadline) {
			t.Fatal("clients connect though the endpoint is gone")
		}
	}
	back := time.Now()
	tr.restore(back)
	if !grows(20 * time.Second) {
		t.Error("nobody connects though the endpoint is back")
	}
	if !tr.there(gone.Add(-1)) || tr.there(gone) || tr.there(back.Add(-1)) || !tr.there(back) {
		t.Error("the endpoint was there at other times than it was said")
	}
}

// An answer that arrived in time is no timeout, even if this process reads it late.
func TestPatient_DoesNotTakeItsOwnLatenessForTheServers(t *testing.T) {
	for name, c := range map[string]struct {
		late, answer time.Duration // from the beginning
		want         time.Duration // of the end, of a request that may take 10 s
		fails        bool
	}{
		"in time":            {0, 9 * time.Second, 9 * time.Second, false},
		"never":              {0, time.Hour, 10*time.Second + lastLook, true},
		"never, and late":    {3 * time.Second, time.Hour, 13*time.Second + lastLook, true},
		"later by the time":  {3 * time.Second, 12 * time.Second, 12 * time.Second, false},
		"at the last moment": {0, 10*time.Second + lastLook/2, 10*time.Second + lastLook/2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				defer server.Close()
				var late lateness
				p := &patient{Conn: client, late: &late}
				begun := time.Now()
				p.begin(10 * time.Second)
				late.add(c.late)
				if c.answer < time.Hour {
					time.AfterFunc(c.answer, func() { _, _ = server.Write([]byte("x")) })
				}
				n, err := p.Read(make([]byte, 1))
				if took := time.Since(begun); took != c.want || (err != nil) != c.fails || (n == 1) == c.fails {
					t.Errorf("%d, %v after %v; want the end after %v", n, err, took, c.want)
				}
				if c.fails && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v, want a timeout", err)
				}
			})
		})
	}
}

func TestWire_KnowsWhatHappensOnAConnectionWithNothingUnderWay(t *testing.T) {
	for name, c := range map[string]struct {
		server func(*net.TCPConn)
		want   stillness
	}{
		"still": {func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) }, still},
		"spoke": {func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n")
			_, _ = c.Read(make([]byte, 1))
		}, spoke},
		"closed": {func(*net.TCPConn) {}, closed},
		"reset":  {func(c *net.TCPConn) { _ = c.SetLinger(0) }, closed},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTraffic(nil, 1)
			defer tr.stop()
			connected := make(chan struct{})
			w, err := tr.dial(targets(t, Target{URL: "http://" + accepting(t, func(conn *net.TCPConn) { <-connected; c.server(conn) })})[0])
			close(connected)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			limit := time.Second
			if c.want == still {
				limit = 20 * time.Millisecond
			}
			if got := w.idle(limit); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestNewTarget_RefusesWhatNoClientCanAskFor(t *testing.T) {
	for _, c := range []struct {
		target  Target
		anyHost bool
		want    string // of the error, empty for none
	}{
		{Target{URL: "http://127.0.0.1:80"}, false, ""},
		{Target{URL: "https://localhost:443/a?b"}, false, ""},
		{Target{URL: "http://[::1]:80/", Use: Slow}, false, ""},
		{Target{URL: "http://203.0.113.1:80"}, true, ""},
		{Target{URL: "http://203.0.113.1:80"}, false, "not this machine's loopback"},
		{Target{URL: "http://127.0.0.1.example:80"}, false, "not this machine's loopback"},
		{Target{URL: "http://127.0.0.1"}, false, "no address like"},
		{Target{URL: "http://:80"}, false, "no address like"},
		{Target{URL: "gopher://127.0.0.1:80"}, false, "no address like"},
		{Target{URL: ""}, false, "no address like"},
		{Target{URL: "http://127.0.0.1:80", Use: "abuse"}, false, "know no"},
		{Target{URL: "http://127.0.0.1:80", Method: "A B"}, false, "invalid method"},
	} {
		_, err := newTarget(c.target, c.anyHost)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.target, err, c.want)
		}
	}
}

func TestLateness_OfARequestIsWhatCameAfterItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late lateness
		begun := time.Now()
		time.Sleep(10 * time.Second)
		late.add(2 * time.Second) // until now
		middle := time.Now()
		time.Sleep(time.Second)
		late.add(time.Second)
		for when, want := range map[time.Time]time.Duration{
			begun: 3 * time.Second, begun.Add(9 * time.Second): 2 * time.Second, middle: time.Second, middle.Add(900 * time.Millisecond): 100 * time.Millisecond, time.Now(): 0,
		} {
			if got := late.since(when); got != want {
				t.Errorf("since %v: %v, want %v", when.Sub(begun), got, want)
			}
		}
	})
}
