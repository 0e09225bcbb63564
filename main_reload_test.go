package lastcall

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestReload_SIGHUPReloadsInsteadOfStopping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		calls := 0
		cfg.OnReload = func(ctx context.Context) error {
			if LastCall(ctx) == nil {
				t.Error("the context has no group")
			}
			calls++
			return nil
		}
		p := runMain(cfg, nil)
		for range 3 {
			p.signal(syscall.SIGHUP)
		}
		if calls != 3 || !p.group.Ready() {
			t.Errorf("%d calls, ready %v", calls, p.group.Ready())
		}
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
	})
}

func TestReload_SIGHUPWithoutAReloadStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log := testConfig()
		p := runMain(cfg, nil)
		p.signal(syscall.SIGHUP)
		if code := <-p.code; code != 0 || len(log.lines("signal=SIGHUP")) != 1 {
			t.Errorf("code %d\n%s", code, log)
		}
	})
}

func TestReload_RunOneAtATimeAndThoseThatComeMeanwhileBecomeOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		var began []time.Time
		at, most := 0, 0
		cfg.OnReload = func(context.Context) error {
			began = append(began, time.Now())
			at++
			most = max(most, at)
			time.Sleep(10 * time.Second)
			at--
			return nil
		}
		p := runMain(cfg, nil)
		first := time.Now()
		for range 5 {
			p.signal(syscall.SIGHUP)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(began) != 2 || most != 1 {
			t.Fatalf("%d reloads, %d at a time", len(began), most)
		}
		wantTook(t, "the first reload", began[1].Sub(first), 10*time.Second, 0)
		p.signal(syscall.SIGTERM)
		<-p.code
	})
}

func TestReload_TheErrorsOfAReloadAreLoggedAndStopNobody(t *testing.T) {
	for _, end := range ends {
		bubble(t, func(t *testing.T) {
			cfg, log := testConfig()
			cfg.OnReload = func(context.Context) error { return end.fn() }
			p := runMain(cfg, nil)
			p.signal(syscall.SIGHUP)
			p.signal(syscall.SIGHUP) // it is called again
			time.Sleep(time.Minute)
			if !p.group.Ready() || len(log.lines("level=ERROR", "name=reload", end.want)) != 2 {
				t.Errorf("%s: ready %v, log %s", end.name, p.group.Ready(), log)
			}
			p.signal(syscall.SIGTERM)
			if code := <-p.code; code != 0 {
				t.Errorf("%s: code %d", end.name, code)
			}
		})
	}
}

func TestReload_TheContextOfAReloadEndsAtLastCallWhateverElseHasItsName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		var ended time.Time
		cfg.OnReload = func(ctx context.Context) error { <-ctx.Done(); ended = time.Now(); return context.Cause(ctx) }
		var cut time.Time
		p := runMain(cfg, func(ctx context.Context, g *Group) error {
			mustStart(t, g.Loop("service", obedient))
			return g.Background(ctx, "reload", func(ctx context.Context) error { <-ctx.Done(); cut = time.Now(); return nil })
		})
		p.signal(syscall.SIGHUP)
		began := time.Now()
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the reload", ended.Sub(began), 0, 0)
		wantTook(t, "the background", cut.Sub(began), atInterrupt, 0)
	})
}

func TestReload_NothingIsReloadedDuringAStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log := testConfig()
		cfg.OnReload = func(context.Context) error { t.Error("it was"); return errors.ErrUnsupported }
		p := runMain(cfg, func(_ context.Context, g *Group) error { return g.Go("work", takes(5*time.Second)) })
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGHUP)
		if code := <-p.code; code != 0 || len(log.lines("nothing is reloaded")) != 1 {
			t.Errorf("code %d\n%s", code, log)
		}
	})
}
