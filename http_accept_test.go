package lastcall

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// at waits for a moment of a stop.
func at(began time.Time, d time.Duration) { time.Sleep(time.Until(began.Add(d))) }

// mustGet sends a request, which must be answered with "Connection: close".
func (l *pipeListener) mustGet(t *testing.T, path string) {
	t.Helper()
	if closes, err := l.get(path); err != nil || !closes {
		t.Errorf("%s: told to close: %v, %v", path, closes, err)
	}
}

func mustRefuse(t *testing.T, l *pipeListener) {
	t.Helper()
	if _, err := l.get("/"); err == nil {
		t.Error("a connection was accepted")
	}
}

func TestListener_IsOpenWhileWorkRunsThatRanWhenTheDelayEnded(t *testing.T) {
	for name, start := range map[string]func(*Group, func(context.Context) error) error{
		"go": func(g *Group, f func(context.Context) error) error { return g.Go("work", f) },
		"background": func(g *Group, f func(context.Context) error) error {
			return g.Background(context.Background(), "work", f)
		},
		"loop": func(g *Group, f func(context.Context) error) error { return g.Loop("work", f) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, log := testConfig()
				cfg.Delay = 3 * time.Second
				g := mustNew(t.Context(), t, cfg)
				l := newPipeListener()
				mustStart(t, start(g, takes(8*time.Second)))
				mustStart(t, g.HTTP("api", quietServer(func(http.ResponseWriter, *http.Request) {}), l))
				synctest.Wait()
				began := time.Now()
				g.Stop(nil)
				for d := time.Duration(0); d < 8*time.Second; d += 250 * time.Millisecond {
					at(began, d)
					l.mustGet(t, "/")
				}
				at(began, 8*time.Second+time.Millisecond)
				mustRefuse(t, l)
				r := g.Wait()
				wantReport(t, r, 0, name+" work, request api x32, server api", "", "")
				wantTook(t, "the stop", r.Took, 8*time.Second, 10*time.Millisecond)
				if len(log.lines("listeners close")) != 1 {
					t.Errorf("the log is %s", log)
				}
			})
		})
	}
}

func TestListener_IsNotKeptOpenByWhatLaterRequestsStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Delay = 3 * time.Second
		g := mustNew(t.Context(), t, cfg)
		l := newPipeListener()
		mustStart(t, g.HTTP("api", quietServer(func(_ http.ResponseWriter, r *http.Request) {
			mustStart(t, g.Background(r.Context(), "thumbnail", takes(5*time.Second)))
		}), l))
		var last time.Time
		asked := 0
		synctest.Wait()
		began := time.Now()
		g.Stop(nil)
		for ; ; asked++ { // a client whose platform never removes the endpoint
			if _, err := l.get("/"); err != nil {
				break
			}
			last = time.Now()
			time.Sleep(100*time.Millisecond - time.Microsecond)
		}
		wantTook(t, "accepting", last.Sub(began), 7900*time.Millisecond, 100*time.Millisecond)
		r := g.Wait()
		if len(r.Finished) != 3 || r.Finished[0].Count != asked || r.ExitCode() != 0 {
			t.Errorf("%d requests: %s", asked, r)
		}
		wantTook(t, "the stop", time.Since(last), 5*time.Second, 0)
	})
}

func TestListener_IsNotKeptOpenByRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		mustStart(t, g.HTTP("api", quietServer(func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }), l))
		var all sync.WaitGroup
		all.Go(func() { _, _ = l.get("/slow") })
		synctest.Wait()
		g.Stop(nil)
		time.Sleep(time.Millisecond)
		mustRefuse(t, l)
		all.Wait()
		wantReport(t, g.Wait(), 0, "request api, server api", "", "")
	})
}

func TestListener_ClosesAtInterruptAndShortRequestsThatCameLastAreNotInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		l := newPipeListener()
		mustStart(t, g.Go("import", obedient))
		mustStart(t, g.HTTP("api", quietServer(func(_ http.ResponseWriter, r *http.Request) {
			time.Sleep(60 * time.Millisecond)
			if r.Context().Err() != nil {
				t.Errorf("the context of a short request has ended: %v", context.Cause(r.Context()))
			}
		}), l))
		synctest.Wait()
		began := time.Now()
		g.Stop(nil)
		var all sync.WaitGroup
		for d := time.Duration(0); d < atInterrupt; d += 50*time.Millisecond - time.Microsecond {
			at(began, d)
			all.Go(func() { l.mustGet(t, "/short") })
		}
		at(began, atInterrupt+time.Millisecond)
		mustRefuse(t, l)
		r := g.Wait()
		all.Wait()
		wantReport(t, r, 75, "request api x361, server api", "go import", "")
		wantTook(t, "the stop", r.Took, atInterrupt, lastRequests)
	})
}

func TestListener_ThatClosesAtInterruptDoesNotKeepLongRequestsFromIt(t *testing.T) {
	for name, signals := range map[string]int{"in time": 1, "by a second signal": 2} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, _ := testConfig()
				l := newPipeListener()
				var cut time.Time
				p := runMain(cfg, func(_ context.Context, g *Group) error {
					mustStart(t, g.Go("import", func(ctx context.Context) error { <-ctx.Done(); return nil }))
					return g.HTTP("api", quietServer(func(_ http.ResponseWriter, r *http.Request) {
						<-r.Context().Done()
						cut = time.Now()
					}), l)
				})
				var all sync.WaitGroup
				all.Go(func() { _, _ = l.get("/long") })
				synctest.Wait()
				began := time.Now()
				want := atInterrupt + lastRequests
				p.signal(syscall.SIGTERM)
				if signals > 1 {
					time.Sleep(time.Second)
					want = time.Second
					p.signal(syscall.SIGTERM)
				}
				if code := <-p.code; code != 75 {
					t.Errorf("code %d", code)
				}
				all.Wait()
				wantTook(t, "the way to the interrupt", cut.Sub(began), want, 0)
			})
		})
	}
}

// openListener has an address that other machines can reach.
type openListener struct{ *pipeListener }

func (l openListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6unspecified, Port: 8080} }

// localListener has a loopback address.
type localListener struct{ *pipeListener }

func (l localListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func TestDelay_DefaultsTo3SecondsWhereMainServesOtherMachines(t *testing.T) {
	open, local := openListener{newPipeListener()}, localListener{newPipeListener()}
	for name, c := range map[string]struct {
		delay, preStop time.Duration
		listener       net.Listener
		person         bool
		signal         syscall.Signal
		want           time.Duration
	}{
		"open":                         {0, 0, open, false, syscall.SIGTERM, 3 * time.Second},
		"open, of a manager's SIGINT":  {0, 0, open, false, syscall.SIGINT, 3 * time.Second},
		"loopback":                     {0, 0, local, false, syscall.SIGTERM, 0},
		"Ctrl-C of a person":           {0, 0, open, true, syscall.SIGINT, 0},
		"a terminal, and SIGTERM":      {0, 0, open, true, syscall.SIGTERM, 3 * time.Second},
		"given, and Ctrl-C":            {2 * time.Second, 0, open, true, syscall.SIGINT, 2 * time.Second},
		"given":                        {2 * time.Second, 0, open, false, syscall.SIGTERM, 2 * time.Second},
		"none":                         {-1, 0, open, false, syscall.SIGTERM, 0},
		"a hook has waited":            {0, time.Second, open, false, syscall.SIGTERM, 0},
		"until Close, so nobody waits": {0, 0, nil, false, syscall.SIGTERM, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, log := testConfig()
				cfg.Delay, cfg.PreStop = c.delay, c.preStop
				var l net.Listener
				var options []ServerOption
				switch c.listener.(type) {
				case openListener:
					l = openListener{newPipeListener()}
				case localListener:
					l = localListener{newPipeListener()}
				default:
					l, options = openListener{newPipeListener()}, []ServerOption{ServeUntilClose()}
				}
				p := runMain(cfg, func(_ context.Context, g *Group) error {
					mustStart(t, g.Loop("loop", obedient))
					return g.HTTP("api", quietServer(nil), l, options...)
				})
				p.group.person = c.person
				began := time.Now()
				p.signal(c.signal)
				<-p.code
				wantTook(t, "the stop", time.Since(began), c.want, 0)
				if len(log.lines("level=WARN")) != 0 {
					t.Errorf("the log warns: %s", log)
				}
			})
		})
	}
}

func TestDelay_ThatIsMissingWhereAGroupServesOtherMachinesIsWarnedOfOnce(t *testing.T) {
	for name, c := range map[string]struct {
		delay time.Duration
		local bool
		want  int
	}{
		"open": {0, false, 1}, "loopback": {0, true, 0}, "none, said so": {-1, false, 0}, "given": {time.Second, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, log := testConfig()
				cfg.Delay = c.delay
				g := mustNew(t.Context(), t, cfg)
				for _, server := range []string{"api", "second"} {
					var l net.Listener = openListener{newPipeListener()}
					if c.local {
						l = localListener{newPipeListener()}
					}
					mustStart(t, g.HTTP(server, quietServer(nil), l))
				}
				mustStart(t, g.HTTP("metrics", quietServer(nil), openListener{newPipeListener()}, ServeUntilClose()))
				if n := len(log.lines("level=WARN", "set Config.Delay", "server=api", "[::]:8080")); n != c.want || len(log.lines("WARN")) != c.want {
					t.Errorf("%d warnings, want %d: %s", n, c.want, log)
				}
				g.Stop(nil)
				g.Wait()
			})
		})
	}
}

func TestUntilLastCall_EndsWithItsContextAndAtLastCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		own, cancel := context.WithCancelCause(g.Context(context.WithValue(t.Context(), traceKey{}, "mine")))
		byItself, byLastCall := UntilLastCall(own), UntilLastCall(g.Context(t.Context()))
		if byItself.Value(traceKey{}) != "mine" || byItself.Err() != nil {
			t.Errorf("%v, %v", byItself.Value(traceKey{}), byItself.Err())
		}
		cancel(errBroken)
		if !errors.Is(context.Cause(byItself), errBroken) || byLastCall.Err() != nil {
			t.Errorf("%v, %v", context.Cause(byItself), byLastCall.Err())
		}
		mustStart(t, g.Go("work", takes(time.Second)))
		synctest.Wait()
		g.Stop(nil)
		synctest.Wait()
		if !errors.Is(context.Cause(byLastCall), ErrStopping) || !errors.Is(byLastCall.Err(), context.Canceled) {
			t.Errorf("%v, %v", context.Cause(byLastCall), byLastCall.Err())
		}
		late := UntilLastCall(g.Context(t.Context()))
		if !errors.Is(context.Cause(late), ErrStopping) {
			t.Errorf("one made after last call: %v", context.Cause(late))
		}
		g.Wait()
		if plain := t.Context(); UntilLastCall(plain) != plain {
			t.Error("outside a group it is another context")
		}
	})
}

func TestContext_OfACallMadeElsewhereKnowsTheGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", obedient))
		ctx := g.Context(t.Context())
		g.Stop(nil)
		<-LastCall(ctx)
		if left, ok := TimeLeft(ctx); !ok || left != atInterrupt {
			t.Errorf("%v left, %v", left, ok)
		}
		<-UntilInterrupt(ctx).Done()
		<-UntilAbandon(ctx).Done()
		g.Wait()
		if ctx.Err() != nil {
			t.Errorf("it ended with the group: %v", ctx.Err())
		}
	})
}
