//go:build unix

package stop_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// arrivals are 150 independent requests per second, as a load balancer forwards them. Half of them
// use new connections.
type arrivals struct {
	url      atomic.Pointer[string]
	done     chan struct{}
	all      sync.WaitGroup
	mu       sync.Mutex
	answered int
	failures []failure // in the order in which their requests ended
}

type failure struct {
	at  time.Time
	err error
}

func startArrivals(t *testing.T, url string) *arrivals {
	a := &arrivals{done: make(chan struct{})}
	a.url.Store(&url)
	kept, fresh := newClient(t), newClient(t)
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	a.all.Go(func() {
		tick := time.NewTicker(time.Second / 150)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-a.done:
				return
			case <-tick.C:
			}
			client := kept
			if i%2 == 0 {
				client = fresh
			}
			a.all.Go(func() { a.send(client, *a.url.Load()) })
		}
	})
	return a
}

func (a *arrivals) send(client *http.Client, url string) {
	_, err := fetch(client, url)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.answered++
		return
	}
	a.failures = append(a.failures, failure{time.Now(), err})
}

// atLeast waits until n requests have been answered.
func (a *arrivals) atLeast(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		answered := a.answered
		a.mu.Unlock()
		if answered >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are answered, want %d", answered, n)
		}
	}
}

// stop ends the requests, and checks that none has failed before the given time.
func (a *arrivals) stop(t *testing.T, before time.Time) {
	t.Helper()
	close(a.done)
	a.all.Wait()
	early := 0
	for _, f := range a.failures {
		if f.at.Before(before) {
			if early++; early == 1 {
				t.Errorf("a client saw %v, %v too early", f.err, before.Sub(f.at))
			}
		}
	}
	if early > 0 {
		t.Errorf("%d requests failed too early", early)
	}
	t.Logf("%d requests answered, %d failed later", a.answered, len(a.failures)-early)
}

// when returns the time of a line of the log.
func when(t *testing.T, line string) time.Time {
	t.Helper()
	text, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// In a soft eviction, or when a node shuts down, the endpoint stays ready for the whole grace.
func TestAccept_AnEndpointThatStaysReadyIsRefusedNothingBeforeInterrupt(t *testing.T) {
	t.Parallel()
	const interrupt = 5 * time.Second // the grace minus the reserve
	p := start(t, func() int {
		cfg := config(8 * time.Second)
		cfg.Delay, cfg.Reserve = time.Second, 3*time.Second
		return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer say("addr %s", l.Addr())
			if err := g.Go("import", func(ctx context.Context) error {
				<-ctx.Done()
				return nil // the failure was recorded
			}); err != nil {
				return err
			}
			return g.HTTP("api", &http.Server{Handler: http.HandlerFunc(fine), ReadHeaderTimeout: time.Minute}, l)
		})
	})
	clients := startArrivals(t, "http://"+p.addr())
	clients.atLeast(t, 100)
	began := time.Now()
	p.signal(stopSignal)
	p.exits(0)
	if took := time.Since(began); took < interrupt || took > 8*time.Second {
		t.Errorf("the stop took %v", took)
	}
	clients.stop(t, began.Add(interrupt))
	p.reports("0 interrupted", "finished    go import")
}

// hello is examples/hello, except for the port and the duration of a thumbnail.
func hello(address string, set func(*lastcall.Config)) func() int {
	return func() int {
		cfg := config(30 * time.Second)
		set(&cfg)
		return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				return err
			}
			defer say("addr 127.0.0.1:%s", port)
			var done atomic.Int64
			g.Defer("count", lastcall.CloseFunc(func() error { say("thumbnails %d", done.Load()); return nil }))
			thumbnail := func(context.Context) error { time.Sleep(2 * time.Second); done.Add(1); return nil }
			return g.HTTP("api", &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := g.Background(r.Context(), "thumbnail", thumbnail); err != nil {
					http.Error(w, err.Error(), http.StatusServiceUnavailable)
				}
			})}, l)
		})
	}
}

func TestAccept_AStopEndsUnderRequestsThatStartWorkWhenTheEarlierWorkIsDone(t *testing.T) {
	t.Parallel()
	p := start(t, hello("127.0.0.1:0", func(cfg *lastcall.Config) { cfg.Delay = time.Second }))
	clients := startArrivals(t, "http://"+p.addr())
	clients.atLeast(t, 100)
	began := time.Now()
	p.signal(stopSignal)
	closes := when(t, p.logs(`msg="listeners close"`))
	if open := closes.Sub(began); open < 2*time.Second || open > 5*time.Second {
		t.Errorf("the listener was open for %v, want the delay and a thumbnail's time", open)
	}
	p.exits(0)
	if took := time.Since(began); took < 4*time.Second || took > 8*time.Second {
		t.Errorf("the stop took %v, want another thumbnail's time", took)
	}
	clients.stop(t, closes)
	var made int
	scan(t, p.says("thumbnails"), "thumbnails %d", &made)
	if made < clients.answered {
		t.Errorf("%d thumbnails of %d that were promised", made, clients.answered)
	}
}

// The README's program, as a service manager starts it: its input is not a terminal, and it listens
// for other machines. The test's requests come from the same machine.
func TestAccept_AProxyThatNoticesAfter1500MillisecondsLosesNoRequest(t *testing.T) {
	t.Parallel()
	program := hello(":0", func(*lastcall.Config) {})
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	old := start(t, program)
	clients := startArrivals(t, "http://"+old.addr())
	clients.atLeast(t, 100)
	next := start(t, program)
	after := "http://" + next.addr()
	began := time.Now()
	old.signal(stopSignal)
	lag := time.AfterFunc(1500*time.Millisecond, func() { clients.url.Store(&after) })
	defer lag.Stop()
	old.exits(0)
	if took := time.Since(began); took < 3*time.Second || took > 6*time.Second {
		t.Errorf("the stop took %v", took)
	}
	clients.stop(t, time.Now())
	next.signal(stopSignal)
	next.exits(0)
	promised := 0
	for _, p := range []*process{old, next} {
		var made int
		scan(t, p.says("thumbnails"), "thumbnails %d", &made)
		promised += made
	}
	if promised < clients.answered {
		t.Errorf("%d thumbnails of %d that were promised", promised, clients.answered)
	}
}

func TestServeUntilClose_AProfileAnswersUntilCloseAndHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		cfg := config(8 * time.Second)
		cfg.Reserve = 4 * time.Second // in which the test asks three times
		return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
			g.Defer("database", lastcall.CloseFunc(func() error { say("closing"); return hear() }))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			mux := http.NewServeMux()
			mux.HandleFunc("/debug/pprof/profile", func(w http.ResponseWriter, r *http.Request) {
				say("profiling")
				pprof.Profile(w, r)
			})
			mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
			mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintln(w, "hello")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			if err := g.HTTP("debug", &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, l, lastcall.ServeUntilClose()); err != nil {
				return err
			}
			defer say("addr %s", l.Addr())
			return g.Go("import", func(ctx context.Context) error { <-ctx.Done(); say("interrupted"); return hear() })
		})
	})
	url := "http://" + p.addr()
	profile := fetching(newClient(t), url+"/debug/pprof/profile?seconds=60")
	p.says("profiling")
	res, err := newClient(t).Get(url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, len("hello\n"))); err != nil {
		t.Fatal(err)
	}
	client := newClient(t)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	p.signal(stopSignal)
	p.logs("phase=drain")
	get(t, client, url+"/debug/pprof/cmdline")
	p.says("interrupted")
	get(t, client, url+"/debug/pprof/cmdline")
	p.tell("return")
	p.says("closing")
	if body, err := fetch(client, url+"/debug/pprof/cmdline"); err == nil {
		t.Errorf("while the closers run it answers %q", body)
	}
	p.tell("close")
	p.exits(0)
	arrives(t, "the end of the profile", profile)
	p.reports("finished    go import")
}
