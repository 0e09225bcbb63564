package lastcall

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestAReportCountsGoroutinesThatShareAName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		for range 1000 {
			mustStart(t, g.Go("work", takes(time.Second)))
			mustStart(t, g.Loop("work", obedient))
		}
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "go work x1000, loop work x1000", "", "")
	})
}

func TestTheSiteIsWhereTheNameWasFirstUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		here := func() string { mustStart(t, g.Go("work", takes(time.Second))); return callSite(1) }()
		mustStart(t, g.Go("work", takes(time.Second)))
		g.Stop(nil)
		r := g.Wait()
		if len(r.Finished) != 1 || r.Finished[0].Count != 2 || r.Finished[0].Site != here {
			t.Errorf("%v, want %s", r.Finished, here)
		}
	})
}

func TestMoreThan1024NamesWorkAndAreReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		const many = maxNames + 300
		for i := range many {
			mustStart(t, g.Go(fmt.Sprintf("work %04d", i), takes(time.Second)))
			mustStart(t, g.Go(fmt.Sprintf("work %04d", i), takes(time.Second)))
		}
		mustStart(t, g.Go("deaf, and the last name", deaf(letGo)))
		synctest.Wait()
		if n := len(g.registry.named); n != maxNames {
			t.Errorf("%d names are kept", n)
		}
		g.Stop(nil)
		r := g.Wait()
		if count(r.Finished) != 2*many || names(r.Abandoned) != "go deaf, and the last name" || r.Abandoned[0].Stack == "" {
			t.Errorf("%d finished, abandoned %v", count(r.Finished), r.Abandoned)
		}
	})
}

func TestTheLinesOfNamesBeyondTheCacheAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		for i := range maxNames + maxStray + 500 {
			mustStart(t, g.Go(fmt.Sprintf("work %04d", i), takes(time.Second)))
		}
		g.Stop(nil)
		r := g.Wait()
		if r.ExitCode() != 0 || len(r.Finished) != maxNames+maxStray {
			t.Errorf("%d lines, code %d", len(r.Finished), r.ExitCode())
		}
	})
}

func TestEveryKindHasNamesOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("x", takes(time.Second)))
		mustStart(t, g.Loop("x", obedient))
		mustStart(t, g.Background(t.Context(), "x", takes(time.Second)))
		l := newPipeListener()
		mustStart(t, g.HTTP("x", quietServer(nil), l))
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "background x, go x, loop x, server x", "", "")
	})
}
