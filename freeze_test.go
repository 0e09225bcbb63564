package lastcall

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/lastcall-go/lastcall/internal/signals"
)

// freeze makes it look as if the process had not run for that duration: a bubble's
// clock cannot be stopped, but the recorded time of the last beat can be moved.
func (g *Group) freeze(d time.Duration) {
	g.mu.Lock()
	g.pulse.last = g.pulse.last.Add(-d)
	g.mu.Unlock()
}

func TestFreeze_IsToldToTheHookAndTheLogAndStopsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log := testConfig()
		told := make(chan time.Duration, 1)
		cfg.OnThaw = func(d time.Duration) { told <- d; panic("a hook may break") }
		p := runMain(cfg, nil)
		p.group.freeze(30 * time.Second)
		if signals.Continue != nil { // without it the next tick notices the freeze
			p.signals <- signals.Continue
		}
		if d := <-told; d < 29*time.Second || d > 30*time.Second {
			t.Errorf("frozen for %v", d)
		}
		synctest.Wait()
		if !p.group.Ready() || len(log.lines("level=WARN", "frozen")) != 1 {
			t.Errorf("ready %v, log %s", p.group.Ready(), log)
		}
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
		if p.group.Wait().Frozen != 0 {
			t.Error("a freeze before the stop is in its report")
		}
	})
}

func TestFreeze_AHookThatBlocksHoldsUpNoSignal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		letGo := make(chan struct{})
		defer close(letGo)
		cfg.OnThaw = func(time.Duration) { <-letGo }
		p := runMain(cfg, nil)
		p.group.freeze(30 * time.Second)
		time.Sleep(2 * time.Second)
		began := time.Now()
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 3 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the stop", time.Since(began), atAbandon, 0)
	})
}

func TestFreeze_OverADeadlineGivesTheReserveAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		var ended time.Time
		mustStart(t, g.Go("slow", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(1500 * time.Millisecond) // longer than Abandon
			ended = time.Now()
			return nil
		}))
		g.Stop(nil)
		time.Sleep(atInterrupt + 800*time.Millisecond)
		g.freeze(5 * time.Second)
		g.beat()
		r := g.Wait()
		wantReport(t, r, 0, "go slow", "", "")
		wantTook(t, "the work", ended.Sub(r.Began), atInterrupt+1500*time.Millisecond, 0)
		if r.Frozen < 4*time.Second || r.Frozen > 5*time.Second {
			t.Errorf("frozen for %v", r.Frozen)
		}
	})
}

func TestFreeze_BeforeInterruptMovesNoDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		var cut time.Time
		mustStart(t, g.Go("work", func(ctx context.Context) error { <-ctx.Done(); cut = time.Now(); return nil }))
		g.Stop(nil)
		time.Sleep(5 * time.Second)
		g.freeze(5 * time.Second)
		g.beat()
		r := g.Wait()
		wantReport(t, r, 0, "go work", "", "")
		wantTook(t, "the way to Interrupt", cut.Sub(r.Began), atInterrupt, 0)
	})
}

func TestFreeze_AfterAFreezeOverTheWholeGraceTheReserveIsStillGiven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		var left time.Duration
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			return g.Go("work", func(ctx context.Context) error {
				<-ctx.Done()
				left, _ = TimeLeft(ctx)
				<-UntilAbandon(ctx).Done() // uses all of it
				return nil
			})
		})
		p.signal(syscall.SIGTERM)
		// As if the clock had jumped beyond the end: all deadlines have passed.
		g := p.group
		g.mu.Lock()
		at := &g.at
		for _, d := range []*time.Time{&at.delay, &at.interrupt, &at.abandon, &at.close, &at.exit} {
			*d = d.Add(-time.Hour)
		}
		g.mu.Unlock()
		g.freeze(time.Hour)
		began := time.Now()
		code := <-p.code
		if len(p.forced) > 0 || left <= 0 {
			t.Errorf("code %d, forced %d times, %v left at Interrupt", code, len(p.forced), left)
		}
		wantTook(t, "the rest", time.Since(began), time.Second, 2*stopPulse)
	})
}

func TestFreeze_ABeatThatComesMuchLateIsAFreeze(t *testing.T) {
	start := time.Now()
	for _, c := range []struct{ elapsed, slept, want time.Duration }{
		{100 * time.Millisecond, 0, 0},
		{50 * time.Millisecond, 0, 0},
		{600 * time.Millisecond, 0, 0}, // a busy machine
		{601 * time.Millisecond, 0, 501 * time.Millisecond},
		{time.Hour, 0, time.Hour - 100*time.Millisecond},
		{100 * time.Millisecond, time.Hour, time.Hour}, // a machine that was suspended
	} {
		var p pulse
		p.start(start, stopPulse)
		p.slept -= c.slept
		if got := p.beat(start.Add(c.elapsed)); (got-c.want).Abs() > 100*time.Millisecond || (got == 0) != (c.want == 0) {
			t.Errorf("%v: %v, want %v", c, got, c.want)
		}
		if got := p.beat(start.Add(c.elapsed + stopPulse)); got != 0 {
			t.Errorf("%v: the next beat reports %v", c, got)
		}
	}
}

func TestFreeze_AWallClockThatIsSetIsNone(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		var p pulse
		start := time.Now()
		p.start(start, stopPulse)
		now := wallClockSet(start.Add(stopPulse), by)
		if wall := now.Round(0).Sub(start.Round(0)); now.Sub(start) != stopPulse || (wall-by-stopPulse).Abs() > time.Second {
			t.Fatalf("by the wall clock %v later, by the monotonic one %v", wall, now.Sub(start))
		}
		if got := p.beat(now); got != 0 {
			t.Errorf("set by %v: the process was frozen for %v", by, got)
		}
	}
}

// wallClockSet returns what time.Now would return if the wall clock had been set by some seconds
// before: package time keeps the seconds above the 30 bits of the nanoseconds, and the monotonic
// clock in another word.
func wallClockSet(now time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&now))
	*wall += uint64(int64(by/time.Second) << 30)
	return now
}
