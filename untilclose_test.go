package lastcall

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestServeUntilClose_AnswersUntilTheClosersRunAndIsCountedNowhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l, letGo := newPipeListener(), make(chan struct{})
		defer close(letGo)
		mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
		mustStart(t, g.HTTP("metrics", quietServer(func(http.ResponseWriter, *http.Request) {}), l, ServeUntilClose()))
		refused := make(chan struct{})
		g.Defer("db", func(context.Context) error { mustRefuse(t, l); close(refused); return nil })
		synctest.Wait()
		began := time.Now()
		g.Stop(nil)
		for d := time.Duration(0); d < atAbandon; d += 500 * time.Millisecond {
			at(began, d)
			if closes, err := l.get("/metrics"); err != nil || closes {
				t.Errorf("after %v: told to close: %v, %v", d, closes, err)
			}
		}
		<-refused
		r := g.Wait()
		wantReport(t, r, 3, "", "", "go unresponsive")
		wantTook(t, "the stop", r.Took, atAbandon, 0)
	})
}

func TestServeUntilClose_IsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		entered := make(chan struct{}, 2)
		var ended time.Duration
		var began time.Time
		mustStart(t, g.HTTP("pprof", quietServer(func(_ http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-r.Context().Done() // a profile of a minute
			ended = time.Since(began)
			if !errors.Is(context.Cause(r.Context()), ErrStopping) && !errors.Is(r.Context().Err(), context.Canceled) {
				t.Errorf("the cause is %v", context.Cause(r.Context()))
			}
		}), l, ServeUntilClose()))
		mustStart(t, g.Go("work", takes(3*time.Second)))
		g.Defer("db", func(context.Context) error {
			if ended != 3*time.Second {
				t.Errorf("the profile ended after %v, want it to before the closers run", ended)
			}
			return nil
		})
		var all sync.WaitGroup
		all.Go(func() { _, _ = l.get("/debug/pprof/profile") })
		<-entered
		began = time.Now()
		g.Stop(nil)
		r := g.Wait()
		all.Wait()
		wantReport(t, r, 0, "go work", "", "")
		wantTook(t, "the stop", r.Took, 3*time.Second, 0)
	})
}

func TestServeUntilClose_AHandlerThatIgnoresItsContextHoldsTheClosersUpForATenthOfASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l, entered, letGo := newPipeListener(), make(chan struct{}), make(chan struct{})
		mustStart(t, g.HTTP("metrics", quietServer(func(http.ResponseWriter, *http.Request) { close(entered); <-letGo }), l, ServeUntilClose()))
		var all sync.WaitGroup
		all.Go(func() { _, _ = l.get("/") })
		<-entered
		g.Stop(nil)
		r := g.Wait()
		close(letGo)
		all.Wait()
		wantReport(t, r, 0, "", "", "")
		wantTook(t, "the stop", r.Took, maxReportTime, 0)
	})
}

func TestServeUntilClose_DoesNotKeepAProgramThatIsDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Delay = 5 * time.Second // a delay is for servers that have clients
		began := time.Now()
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			mustStart(t, g.HTTP("metrics", quietServer(nil), newPipeListener(), ServeUntilClose()))
			return g.Go("import", takes(time.Minute))
		})
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the program", time.Since(began), time.Minute, 0)
	})
}

func TestServeUntilClose_ThatEndsBeforeItsTimeIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		mustStart(t, g.Loop("loop", obedient))
		mustStart(t, g.HTTP("metrics", quietServer(nil), l, ServeUntilClose()))
		synctest.Wait()
		l.Close()
		r := g.Wait()
		if r.ExitCode() != 1 || !errors.Is(r.Cause, net.ErrClosed) {
			t.Errorf("%v, cause %v", r, r.Cause)
		}
	})
}

func TestServeUntilClose_IsRefusedFromLastCallOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		g.Stop(nil)
		srv := quietServer(nil)
		if err := g.HTTP("late", srv, newPipeListener(), ServeUntilClose()); !errors.Is(err, ErrStopping) || srv.BaseContext != nil {
			t.Errorf("got %v", err)
		}
		g.Wait()
	})
}

// countedServer is a server with the methods of a gRPC server.
type countedServer struct {
	stopped, graceful int
	end               chan struct{}
}

func (s *countedServer) Serve(net.Listener) error { <-s.end; return io.EOF }
func (s *countedServer) GracefulStop()            { s.graceful++ }
func (s *countedServer) Stop()                    { s.stopped++; close(s.end) }

func TestServeUntilClose_StopsAServerOfServeWithStopAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		srv := &countedServer{end: make(chan struct{})}
		mustStart(t, g.Serve("channelz", srv, newPipeListener(), ServeUntilClose()))
		mustStart(t, g.Go("work", takes(time.Second)))
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "go work", "", "")
		if srv.stopped != 1 || srv.graceful != 0 {
			t.Errorf("Stop %d times, GracefulStop %d times", srv.stopped, srv.graceful)
		}
	})
}

func TestServe_GracefulStopBeginsWhenTheListenersClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		began := make(chan time.Duration, 1)
		srv := &gracefulServer{end: make(chan struct{})}
		mustStart(t, g.Serve("rpc", srv, newPipeListener()))
		mustStart(t, g.Go("work", takes(4*time.Second)))
		start := time.Now()
		srv.stopping = func() { began <- time.Since(start) }
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "go work, server rpc", "", "")
		wantTook(t, "the way to GracefulStop", <-began, 4*time.Second, 0)
	})
}

type gracefulServer struct {
	end      chan struct{}
	stopping func()
}

func (s *gracefulServer) Serve(net.Listener) error { <-s.end; return nil }
func (s *gracefulServer) GracefulStop()            { s.stopping(); close(s.end) }
func (s *gracefulServer) Stop()                    {}
