package stop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
)

func TestDrain_ASlowRequestFinishesInTheDrainAndNewOnesAreRefused(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := serve(t, lastcall.Config{Grace: time.Minute}, h.ServeHTTP)
	slow := fetching(newClient(t), "http://"+s.addr)
	arrives(t, "the request", h.entered)
	s.stop()
	s.logs("phase=drain")
	refused(t, s.addr)
	close(h.release)
	if a := arrives(t, "the answer", slow); a.err != nil || a.body != "complete" {
		t.Errorf("the slow request ended with %q, %v", a.body, a.err)
	}
	r := s.g.Wait()
	exits(t, r, 0)
	finds(t, r, r.Finished, lastcall.EntryRequest, "api", 1)
}

// refused waits until an address accepts no connections.
func refused(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("new connections are still accepted")
		}
	}
}

func TestDrain_ARequestMayStartWorkUntilTheLastOneHasReturned(t *testing.T) {
	t.Parallel()
	h := newHeld()
	var s *service
	started := make(chan error, 2)
	s = serve(t, lastcall.Config{Grace: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		started <- s.g.Background(r.Context(), "render", nothing)
		started <- s.g.Go("render", nothing)
	})
	slow := fetching(newClient(t), "http://"+s.addr)
	arrives(t, "the request", h.entered)
	s.stop()
	s.logs("phase=drain")
	close(h.release)
	arrives(t, "the answer", slow)
	for range 2 {
		if err := arrives(t, "the start", started); err != nil {
			t.Errorf("a request in flight could not start its work: %v", err)
		}
	}
	exits(t, s.g.Wait(), 0)
	if err := s.g.Go("late", nothing); !errors.Is(err, lastcall.ErrStopping) {
		t.Errorf("after the stop Go says %v, want ErrStopping", err)
	}
}

func TestDrain_ARequestLongerThanTheBudgetHearsOfTheInterrupt(t *testing.T) {
	t.Parallel()
	entered, cause := make(chan struct{}), make(chan error, 1)
	s := serve(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		cause <- context.Cause(r.Context())
		if left, ok := lastcall.TimeLeft(r.Context()); !ok || left <= 0 {
			t.Errorf("after the interrupt %v are left, %v", left, ok)
		}
		if lastcall.UntilAbandon(r.Context()).Err() != nil {
			t.Error("the context for the last write has ended before Abandon")
		}
		_, _ = io.WriteString(w, "cut short")
	})
	slow := fetching(newClient(t), "http://"+s.addr)
	arrives(t, "the request", entered)
	s.stop()
	var interrupt *lastcall.InterruptError
	if err := arrives(t, "the interrupt", cause); !errors.As(err, &interrupt) {
		t.Errorf("the cause is %v, want an InterruptError", err)
	}
	if a := arrives(t, "the answer", slow); a.body != "cut short" {
		t.Errorf("the client got %q, %v", a.body, a.err)
	}
	r := s.g.Wait()
	finds(t, r, r.Interrupted, lastcall.EntryRequest, "api", 1)
	exits(t, r, 75)
}

//go:noinline
func unresponsiveHandler(release <-chan struct{}) { <-release }

func TestUnresponsive_AnUnresponsiveRequestIsAbandonedByMethodAndPathWithItsStack(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	// On a busy machine a dump of the stacks takes more than a second. With this reserve it may take
	// two, the most that it ever may.
	s := serve(t, lastcall.Config{Grace: 10 * time.Second, Reserve: 9500 * time.Millisecond},
		func(http.ResponseWriter, *http.Request) {
			close(entered)
			unresponsiveHandler(release)
		})
	slow := fetching(newClient(t), "http://"+s.addr+"/report?secret=1")
	arrives(t, "the request", entered)
	s.stop()
	if a := arrives(t, "the end of the connection", slow); a.err == nil {
		t.Errorf("the client got %q, want an error at Abandon", a.body)
	}
	r := s.g.Wait()
	exits(t, r, 3)
	l := finds(t, r, r.Abandoned, lastcall.EntryRequest, "api GET /report", 1)
	if !strings.Contains(l.Stack, "unresponsiveHandler") {
		t.Errorf("the stack is not the handler's:\n%s", l.Stack)
	}
}

func TestDrain_IdleAndUnusedConnectionsHoldUpNoStop(t *testing.T) {
	t.Parallel()
	s := serve(t, lastcall.Config{Grace: time.Minute}, fine)
	idle, unused := keepAlive(t, s.addr), dial(t, s.addr)
	half := dial(t, s.addr)
	if _, err := io.WriteString(half, "GET / HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	watch := stopwatch.Start(t)
	s.stop()
	r := s.g.Wait()
	t.Logf("the stop took %v", watch.AtMost(250*time.Millisecond, "a stop with nothing to do"))
	exits(t, r, 0)
	for _, c := range []net.Conn{idle, unused, half} {
		closed(t, c)
	}
}

func TestDrain_DuringTheDelayClientsAreServedAndToldToGoElsewhere(t *testing.T) {
	t.Parallel()
	// A busy machine may run nothing for seconds of the delay.
	const delay, propagation = 8 * time.Second, time.Second
	s := serve(t, lastcall.Config{Grace: time.Minute, Delay: delay}, fine)

	// Keep-alive clients, each of which goes elsewhere when the server asks it to, and clients that
	// open a connection for each request, for as long as the platform may still send them here.
	var clients sync.WaitGroup
	var answers, told, anew atomic.Int64
	report := func(err error) {
		if err != nil {
			t.Errorf("a client saw %v", err)
		}
		answers.Add(1)
	}
	for range 4 {
		client := newClient(t)
		clients.Go(func() {
			for {
				res, err := client.Get("http://" + s.addr)
				if err != nil {
					report(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				report(err)
				if res.Close {
					told.Add(1)
					return
				}
			}
		})
	}
	elsewhere := make(chan struct{})
	for range 2 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		clients.Go(func() {
			for {
				select {
				case <-elsewhere:
					return
				default:
					_, err := fetch(client, "http://"+s.addr)
					report(err)
					if !s.g.Ready() {
						anew.Add(1)
					}
				}
			}
		})
	}
	began := time.Now()
	s.stop()
	if s.g.Ready() {
		t.Error("Ready is true after last call")
	}
	time.AfterFunc(propagation, func() { close(elsewhere) })
	clients.Wait()
	r := s.g.Wait()
	if took := time.Since(began); took < delay {
		t.Errorf("the server accepted for %v, want %v", took, delay)
	}
	exits(t, r, 0)
	if told.Load() != 4 || anew.Load() == 0 {
		t.Errorf("%d of 4 keep-alive clients were told to close; %d answers on new connections", told.Load(), anew.Load())
	}
	t.Logf("%d answers", answers.Load())
}

func TestServer_TheUsersOwnServerHooksStillWork(t *testing.T) {
	t.Parallel()
	type key string
	var mu sync.Mutex
	states := map[http.ConnState]int{}
	stopping, idle, closed := make(chan bool, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	s := serve(t, lastcall.Config{Grace: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		stopping <- lastcall.LastCall(r.Context()) != nil
		_, _ = io.WriteString(w, r.Context().Value(key("base")).(string)+" "+r.Context().Value(key("conn")).(string))
	}, func(srv *http.Server) {
		srv.BaseContext = func(net.Listener) context.Context {
			return context.WithValue(context.Background(), key("base"), "base")
		}
		srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, key("conn"), "conn")
		}
		srv.ConnState = func(_ net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			states[state]++
			switch state {
			case http.StateIdle:
				idle <- struct{}{}
			case http.StateClosed:
				closed <- struct{}{}
			default:
			}
		}
	})
	if got := get(t, newClient(t), "http://"+s.addr); got != "base conn" {
		t.Errorf("the handler saw %q in its context", got)
	}
	if !arrives(t, "the answer", stopping) {
		t.Error("with a BaseContext of the user's the request does not belong to the group")
	}
	arrives(t, "StateIdle", idle)
	s.stop()
	exits(t, s.g.Wait(), 0)
	arrives(t, "StateClosed", closed) // net/http calls the hook after Shutdown has returned
	mu.Lock()
	defer mu.Unlock()
	for _, state := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateClosed} {
		if states[state] != 1 {
			t.Errorf("ConnState heard %v %d times, want once", state, states[state])
		}
	}
}

func TestServer_ThatEndsByItselfBeginsAStopWithCode1(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*http.Server, net.Listener) error{
		"listener closed": func(_ *http.Server, l net.Listener) error { return l.Close() },
		"server closed":   func(srv *http.Server, _ net.Listener) error { return srv.Close() },
		"shut down":       func(srv *http.Server, _ net.Listener) error { return srv.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, l := &http.Server{Handler: http.HandlerFunc(fine), ReadHeaderTimeout: time.Minute}, listen(t)
			s := serveOn(t, lastcall.Config{Grace: time.Minute}, srv, l)
			get(t, newClient(t), "http://"+s.addr)
			if err := end(srv, l); err != nil {
				t.Fatal(err)
			}
			exits(t, s.g.Wait(), 1)
		})
	}
}

func TestServer_FromLastCallOnAServerIsRefusedAndItsListenerStaysTheCallers(t *testing.T) {
	t.Parallel()
	g := newGroup(t.Context(), t, lastcall.Config{})
	g.Stop(nil)
	l := listen(t)
	if err := g.HTTP("late", &http.Server{ReadHeaderTimeout: time.Minute}, l); !errors.Is(err, lastcall.ErrStopping) {
		t.Errorf("HTTP says %v, want ErrStopping", err)
	}
	g.Wait()
	if err := l.Close(); err != nil {
		t.Errorf("the listener was not the caller's any more: %v", err)
	}
}
