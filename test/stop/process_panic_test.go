//go:build unix

package stop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// panicHere is what stacks are recognised by.
//
//go:noinline
func panicHere(context.Context) error { panic("boom") }

func goexit(context.Context) error { runtime.Goexit(); return nil }

// A program continues or stops as its kind of goroutine determines. It never dies of the panic
// itself, which would end every other goroutine without a last call, with code 2.
func TestPanic_OrGoexitInAnyGoroutineEndsInAnOrderlyStop(t *testing.T) {
	t.Parallel()
	background := func(fn func(context.Context) error) func(context.Context, *lastcall.Group) error {
		return func(ctx context.Context, g *lastcall.Group) error { return g.Background(ctx, "culprit", fn) }
	}
	for name, tc := range map[string]struct {
		setup  func(context.Context, *lastcall.Group) error
		stops  bool // by itself
		code   int
		report string
	}{
		"setup": {func(ctx context.Context, _ *lastcall.Group) error { return panicHere(ctx) },
			true, 1, "failed      setup: panic: boom"},
		"setup_goexit": {func(ctx context.Context, _ *lastcall.Group) error { return goexit(ctx) },
			true, 1, "failed      setup: left by runtime.Goexit"},
		"go": {func(_ context.Context, g *lastcall.Group) error { return g.Go("culprit", panicHere) },
			true, 1, "failed      go culprit: panic: boom"},
		"go_goexit": {func(_ context.Context, g *lastcall.Group) error { return g.Go("culprit", goexit) },
			true, 1, "failed      go culprit: left by runtime.Goexit"},
		"loop": {func(_ context.Context, g *lastcall.Group) error { return g.Loop("culprit", panicHere) },
			true, 1, "failed      loop culprit: panic: boom"},
		"loop_goexit": {func(_ context.Context, g *lastcall.Group) error { return g.Loop("culprit", goexit) },
			true, 1, "failed      loop culprit: left by runtime.Goexit"},
		"background":        {background(panicHere), false, 0, "failed      1 times in the background"},
		"background_goexit": {background(goexit), false, 0, "failed      1 times in the background"},
		"closer": {func(_ context.Context, g *lastcall.Group) error { g.Defer("culprit", panicHere); return nil },
			false, 1, "failed      closer culprit: panic: boom"},
		"closer_goexit": {func(_ context.Context, g *lastcall.Group) error { g.Defer("culprit", goexit); return nil },
			false, 1, "failed      closer culprit: left by runtime.Goexit"},
		"after_last_call": {func(_ context.Context, g *lastcall.Group) error {
			return g.Go("culprit", func(ctx context.Context) error { <-lastcall.LastCall(ctx); return panicHere(ctx) })
		}, false, 1, "failed      go culprit: panic: boom"},
		"after_interrupt": {func(_ context.Context, g *lastcall.Group) error {
			return g.Go("culprit", func(ctx context.Context) error { <-ctx.Done(); return panicHere(ctx) })
		}, false, 1, "failed      go culprit: panic: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, func() int {
				cfg := config(4 * time.Second)
				cfg.Reserve = 2 * time.Second
				return lastcall.Main(cfg, func(ctx context.Context, g *lastcall.Group) error {
					g.Defer("db", lastcall.CloseFunc(func() error { say("closed the db"); return nil }))
					err := g.Go("bystander", func(ctx context.Context) error {
						<-lastcall.LastCall(ctx)
						say("the bystander finished")
						return nil
					})
					err = errors.Join(err, tc.setup(ctx, g))
					say("set up")
					return err
				})
			})
			if !tc.stops {
				p.running(name)
				p.signal(stopSignal)
			}
			p.says("the bystander finished")
			p.says("closed the db")
			p.exits(tc.code)
			p.reports(tc.report)
			if line, _ := p.log.find(`error="panic: boom"`); line != "" && !strings.Contains(line, "panicHere") {
				t.Errorf("the log does not say where the panic was: %s", line)
			}
		})
	}
}

// running waits until a program that continues is set up, and its background goroutine has panicked
// or exited.
func (p *process) running(name string) {
	p.t.Helper()
	p.says("set up")
	if strings.HasPrefix(name, "background") {
		p.logs("goroutine failed")
	}
}

func TestPanic_OfAReloadIsLoggedAndTheProgramGoesOn(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		cfg := config(time.Minute)
		cfg.OnReload = panicHere
		return drainer(cfg)
	})
	p.says("working")
	p.signal(syscall.SIGHUP)
	p.logs("panic: boom")
	p.signal(stopSignal)
	p.says("heard the last call")
	p.tell("finish")
	p.exits(0)
	p.reports("stopped by SIGTERM", "failed      1 times in the background")
}

func TestPanic_InAnHTTPHandlerEndsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return lastcall.Main(config(time.Minute), func(_ context.Context, g *lastcall.Group) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			mux := http.NewServeMux()
			mux.HandleFunc("/boom", func(_ http.ResponseWriter, r *http.Request) { _ = panicHere(r.Context()) })
			mux.HandleFunc("/goexit", func(_ http.ResponseWriter, r *http.Request) { _ = goexit(r.Context()) })
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
			defer say("http://%s", l.Addr())
			return g.HTTP("api", &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, l)
		})
	})
	url := p.says("http://")
	for _, path := range []string{"/boom", "/goexit"} {
		if res, err := http.Get(url + path); err == nil {
			res.Body.Close()
			t.Errorf("GET %s answered %s, want a closed connection", path, res.Status)
		}
	}
	if got := get(t, http.DefaultClient, url); got != "fine" {
		t.Errorf("after the panics the server answered %q", got)
	}
	p.signal(stopSignal)
	p.exits(0)
	p.logs("panic serving")
}
