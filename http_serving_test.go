package lastcall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener accepts connections in memory: a bubble knows when a goroutine waits for them.
type pipeListener struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// get sends a request, and reports whether the response told the client to
// close its connection.
func (l *pipeListener) get(path string) (closes bool, err error) {
	client, server := net.Pipe()
	defer client.Close()
	select {
	case l.accept <- server:
	case <-l.closed:
		return false, errors.New("connection refused")
	}
	if _, err := fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path); err != nil {
		return false, err
	}
	r, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		return false, err
	}
	return r.Close, r.Body.Close()
}

func quietServer(h http.HandlerFunc) *http.Server {
	return &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Hour}
}

func TestGo_AndBackgroundStartWhileARequestIsServedAndNotAfterIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		h := func(w http.ResponseWriter, r *http.Request) {
			<-LastCall(r.Context())
			time.Sleep(5 * time.Second) // the listener is closed; this request is not done
			mustStart(t, g.Go("for the request", takes(time.Second)))
			mustStart(t, g.Background(r.Context(), "after the request", takes(2*time.Second)))
			if err := g.Loop("forever", obedient); !errors.Is(err, ErrStopping) {
				t.Errorf("a loop: %v", err)
			}
		}
		mustStart(t, g.HTTP("api", quietServer(h), l))
		var all sync.WaitGroup
		all.Go(func() {
			if closes, err := l.get("/import"); err != nil || !closes {
				t.Errorf("told to close: %v, %v", closes, err)
			}
		})
		synctest.Wait()
		g.Stop(nil)
		all.Wait()
		synctest.Wait()
		if err := g.Go("too late", obedient); !errors.Is(err, ErrStopping) {
			t.Errorf("after the last request: %v", err)
		}
		r := g.Wait()
		wantReport(t, r, 0, "background after the request, go for the request, request api, server api", "", "")
		wantTook(t, "the stop", r.Took, 7*time.Second, 0)
	})
}

func TestGo_IsRefusedAtInterruptAtTheLatest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		mustStart(t, g.HTTP("api", quietServer(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if !errors.As(context.Cause(r.Context()), new(*InterruptError)) {
				t.Errorf("the cause is %v", context.Cause(r.Context()))
			}
			if err := g.Go("more", obedient); !errors.Is(err, ErrStopping) {
				t.Errorf("after Interrupt: %v", err)
			}
		}), l))
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := l.get("/long"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		g.Stop(nil)
		r := g.Wait()
		all.Wait()
		wantReport(t, r, 75, "server api", "request api", "")
		wantTook(t, "the stop", r.Took, atInterrupt, 0)
	})
}

func TestDelay_DuringTheDelayServersAcceptAndThenTheyDoNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Delay = 3 * time.Second
		g := mustNew(t.Context(), t, cfg)
		l := newPipeListener()
		mustStart(t, g.HTTP("api", quietServer(func(http.ResponseWriter, *http.Request) {}), l))
		synctest.Wait()
		began := time.Now()
		g.Stop(nil)
		for time.Since(began) < cfg.Delay-time.Millisecond {
			if closes, err := l.get("/"); err != nil || !closes {
				t.Fatalf("after %v: told to close: %v, %v", time.Since(began), closes, err)
			}
			time.Sleep(100*time.Millisecond - time.Microsecond)
		}
		time.Sleep(time.Until(began.Add(cfg.Delay + time.Millisecond)))
		if _, err := l.get("/"); err == nil {
			t.Error("accepted after the delay")
		}
		r := g.Wait()
		wantTook(t, "the stop", r.Took, cfg.Delay, 10*time.Millisecond)
	})
}

func TestDelay_IsSkippedWithoutAServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Delay = 3 * time.Second
		g := mustNew(t.Context(), t, cfg)
		mustStart(t, g.Loop("loop", obedient))
		g.Stop(nil)
		wantTook(t, "the stop", g.Wait().Took, 0, 0)
	})
}

func TestServer_ThatEndsBeforeLastCallBeginsAStopWithCode1(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		mustStart(t, g.HTTP("api", quietServer(nil), l))
		synctest.Wait()
		l.Close()
		r := g.Wait()
		if r.ExitCode() != 1 || !errors.Is(r.Cause, net.ErrClosed) {
			t.Errorf("%v, cause %v", r, r.Cause)
		}
	})
}

func TestServer_FromLastCallOnAServerIsRefusedAndTheListenerStaysTheCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", takes(time.Second)))
		g.Stop(nil)
		l := newPipeListener()
		if err := g.HTTP("api", quietServer(nil), l); !errors.Is(err, ErrStopping) {
			t.Errorf("got %v", err)
		}
		select {
		case <-l.closed:
			t.Error("the listener was closed")
		default:
		}
		g.Wait()
	})
}

func TestServer_OrListenerThatIsMissingIsAnError(t *testing.T) {
	g, _ := newTestGroup(t)
	if err := g.HTTP("api", nil, newPipeListener()); err == nil {
		t.Error("no server")
	}
	if err := g.HTTP("api", quietServer(nil), nil); err == nil {
		t.Error("no listener")
	}
	if err := g.Serve("rpc", nil, newPipeListener()); err == nil {
		t.Error("no server")
	}
}

func TestServer_MayBeCalledSetup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		l := newPipeListener()
		p := runMain(cfg, func(_ context.Context, g *Group) error { return g.HTTP("setup", quietServer(nil), l) })
		synctest.Wait()
		l.Close()
		if code := <-p.code; code != 1 {
			t.Errorf("code %d for a server that ended early", code)
		}
	})
}

func TestServer_ARequestIsNamedInTheReportAsItWasSentAndMakesNoLineOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l, release := newPipeListener(), make(chan struct{})
		mustStart(t, g.HTTP("api", quietServer(func(http.ResponseWriter, *http.Request) { <-release }), l))
		var all sync.WaitGroup
		all.Go(func() { _, _ = l.get("/a%0Aabandoned%20go%20forged%1b[31m") }) // it is cut off
		synctest.Wait()
		g.Stop(nil)
		r := g.Wait()
		close(release)
		all.Wait()
		if len(r.Abandoned) != 1 || r.Abandoned[0].Name != "api GET /a%0Aabandoned%20go%20forged%1b%5B31m" && r.Abandoned[0].Name != "api GET /a%0Aabandoned%20go%20forged%1b[31m" {
			t.Errorf("%q", r.String())
		}
	})
}
