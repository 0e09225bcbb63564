package lastcall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroup_TheEndOfTheParentIsALastCallAndNotACancellation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cfg, _ := testConfig()
		g := mustNew(parent, t, cfg)
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			<-LastCall(ctx)
			time.Sleep(10 * time.Second)
			return ctx.Err()
		}))
		r := g.Wait()
		wantReport(t, r, 0, "go work", "", "")
		if r.Signal != nil || r.Cause != nil {
			t.Errorf("begun by %v, %v", r.Signal, r.Cause)
		}
		wantTook(t, "the stop", r.Took, 10*time.Second, 0)
	})
}

func TestGroup_WhoseParentHasEndedAlreadyStops(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	cancel()
	for range 200 { // New and the stop run at the same time
		cfg, _ := testConfig()
		g := mustNew(parent, t, cfg)
		_ = g.Go("work", takes(0))
		if r := g.Wait(); r.ExitCode() != 0 {
			t.Fatal(r)
		}
	}
}

func TestGroup_ThatIsNeverStoppedHoldsNoGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) { // a bubble cannot end while one of its goroutines lives
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", takes(time.Second)))
		time.Sleep(time.Hour)
		if !g.Ready() {
			t.Error("it stopped")
		}
	})
}

func TestGroup_IsReadyFromTheStartUntilLastCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		if !g.Ready() {
			t.Error("not ready at the start")
		}
		mustStart(t, g.Go("work", takes(time.Second)))
		g.Stop(nil)
		if g.Ready() {
			t.Error("ready after last call")
		}
		g.Wait()
	})
}

func TestStop_ReturnsAtOnceAndOnlyTheFirstCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", takes(5*time.Second)))
		began := time.Now()
		g.Stop(nil)
		g.Stop(errBroken)
		wantTook(t, "Stop", time.Since(began), 0, 0)
		r := g.Wait()
		wantReport(t, r, 0, "go work", "", "")
		if r.Cause != nil {
			t.Errorf("the cause is %v", r.Cause)
		}
		g.Stop(errBroken) // after the end
	})
}

func TestStop_TheCauseOfAStopIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Loop("service", obedient))
		g.Stop(errBroken)
		r := g.Wait()
		wantReport(t, r, 1, "loop service", "", "")
		if !errors.Is(r.Cause, errBroken) || len(r.Failures) != 1 || !errors.Is(r.Failures[0], errBroken) {
			t.Errorf("cause %v, failures %v", r.Cause, r.Failures)
		}
	})
}

func TestGroup_EndsByItselfWhenEverythingHasReturned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			time.Sleep(time.Second)
			return g.Background(ctx, "mail", takes(time.Second)) // work that runs may start more work
		}))
		began := time.Now()
		wantReport(t, g.Wait(), 0, "", "", "")
		wantTook(t, "the group", time.Since(began), 2*time.Second, 0)
	})
}

func TestGroup_IsNotDoneBeforeTheFirstWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("first", takes(time.Second)))
		time.Sleep(time.Minute)
		mustStart(t, g.Go("second", takes(time.Second)))
		wantReport(t, g.Wait(), 0, "", "", "")
	})
}

func TestGroup_WithALoopDoesNotEndByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Loop("service", obedient))
		mustStart(t, g.Go("work", takes(time.Second)))
		go func() {
			time.Sleep(time.Hour)
			g.Stop(nil)
		}()
		began := time.Now()
		g.Wait()
		wantTook(t, "the group", time.Since(began), time.Hour, 0)
	})
}

func TestWait_AnswersTheSameEachTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		mustStart(t, g.Go("unresponsive", func(context.Context) error { <-letGo; panic("too late") }))
		mustStart(t, g.Background(t.Context(), "unresponsive", func(context.Context) error { <-letGo; return errBroken }))
		g.Stop(nil)
		first := g.Wait()
		close(letGo) // what ends from now on is logged, and changes no report
		synctest.Wait()
		second := g.Wait()
		if first.String() != second.String() || len(second.Failures) != 0 || second.BackgroundErrors != 0 {
			t.Errorf("first %v, then %v", first, second)
		}
	})
}

func TestGroup_AGoroutineThatWaitsForItsOwnGroupIsAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("selfish", func(context.Context) error { g.Wait(); return nil }))
		g.Stop(nil)
		wantReport(t, g.Wait(), 3, "", "", "go selfish")
	})
}

// nested is a group inside a goroutine of another one.
type nested struct {
	report Report
	ended  time.Time // when its Wait returned
}

// nest runs a group with inner inside a Go of g.
func nest(t *testing.T, g *Group, cfg Config, inner func(*Group)) *nested {
	t.Helper()
	n := &nested{}
	mustStart(t, g.Go("outer", func(ctx context.Context) error {
		sub, err := New(ctx, cfg)
		if err != nil {
			return err
		}
		inner(sub)
		n.report = sub.Wait()
		n.ended = time.Now()
		return nil
	}))
	synctest.Wait()
	return n
}

func TestInnerGroup_TheOuterGroupsLastCallReachesTheInnerOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		cfg, _ := testConfig()
		n := nest(t, g, cfg, func(sub *Group) {
			mustStart(t, sub.Loop("inner", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return nil }))
		})
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 0, "go outer", "", "")
		wantReport(t, n.report, 0, "loop inner", "", "")
		wantTook(t, "the stop", r.Took, time.Second, 0)
	})
}

func TestInnerGroup_TimeIsBoundedByTheOuterOnes(t *testing.T) {
	for _, grace := range []time.Duration{-1, time.Hour, 25 * time.Second, 5 * time.Second} {
		bubble(t, func(t *testing.T) {
			g, _ := newTestGroup(t)
			cfg, _ := testConfig()
			cfg.Grace = grace
			letGo := make(chan struct{})
			n := nest(t, g, cfg, func(sub *Group) {
				mustStart(t, sub.Go("unresponsive", unresponsive(letGo)))
				sub.Defer("hangs", unresponsive(letGo))
			})
			g.Stop(nil)
			r := g.Wait()
			// The outer goroutine waits for the inner group, and returns in time.
			wantReport(t, r, 0, "go outer", "", "")
			wantReport(t, n.report, 3, "", "", "closer hangs, go unresponsive")
			if over := n.ended.Sub(r.Began); over > atAbandon {
				t.Errorf("grace %v: the inner stop was over after %v", grace, over)
			}
			close(letGo)
		})
	}
}

func TestInnerGroup_TheOuterGroupsInterruptReachesAnInnerStopThatHadMoreTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		cfg, _ := testConfig()
		cfg.Grace = 5 * time.Hour
		var sub *Group
		letGo := make(chan struct{})
		var cut time.Time
		n := nest(t, g, cfg, func(s *Group) {
			sub = s
			mustStart(t, sub.Go("obedient", func(ctx context.Context) error { <-ctx.Done(); cut = time.Now(); return nil }))
			mustStart(t, sub.Go("unresponsive", unresponsive(letGo)))
		})
		sub.Stop(nil) // by itself, with hours to go; then the outer one stops
		time.Sleep(time.Minute)
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 0, "go outer", "", "")
		wantTook(t, "the inner interrupt", cut.Sub(r.Began), atInterrupt, 0)
		if over := n.ended.Sub(r.Began); over > atAbandon {
			t.Errorf("the inner stop was over after %v, the outer one abandons at %v", over, atAbandon)
		}
		close(letGo)
	})
}

func TestInnerGroup_ASecondSignalReachesTheInnerGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		letGo := make(chan struct{})
		var n *nested
		p := runMain(cfg, func(ctx context.Context, g *Group) error {
			sub := cfg
			sub.Reserve = 9 * time.Second // of which the outer one has only a part
			n = &nested{}
			return g.Go("outer", func(ctx context.Context) error {
				inner := mustNew(ctx, t, sub)
				mustStart(t, inner.Go("unresponsive", unresponsive(letGo)))
				n.report = inner.Wait()
				n.ended = time.Now()
				return nil
			})
		})
		began := time.Now()
		p.signal(syscall.SIGTERM)
		time.Sleep(time.Second)
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d: the inner group used more time than the outer one had", code)
		}
		wantReport(t, n.report, 3, "", "", "go unresponsive")
		if over := n.ended.Sub(began); over > 2*time.Second {
			t.Errorf("the inner stop was over after %v", over)
		}
		close(letGo)
	})
}

func TestInnerGroup_AGroupMadeInsideAnInterruptedOneIsInterruptedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("outer", func(ctx context.Context) error {
			<-ctx.Done()
			began := time.Now()
			cfg, _ := testConfig()
			for range 100 { // the callbacks on the outer group run in any order
				sub := mustNew(ctx, t, cfg)
				if err := sub.Go("inner", obedient); err != nil && !errors.Is(err, ErrStopping) {
					t.Error(err)
				}
				sub.Wait()
			}
			wantTook(t, "the inner stops", time.Since(began), 0, 0)
			return nil
		}))
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "go outer", "", "")
	})
}

func TestInnerGroup_AnswersForContextsInside(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		cfg, _ := testConfig()
		nest(t, g, cfg, func(sub *Group) {
			mustStart(t, sub.Loop("inner", func(ctx context.Context) error {
				if LastCall(ctx) == LastCall(g.values) || groupOf(ctx) != sub || groupOf(UntilInterrupt(ctx)) != sub {
					t.Error("the context belongs to another group")
				}
				<-ctx.Done()
				return nil
			}))
			sub.Stop(nil)
		})
		if !g.Ready() {
			t.Error("an inner stop reached the outer group")
		}
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "", "", "")
	})
}

func TestGroup_FailuresAreKeptInOrderUpTo100(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		for i := range 150 {
			mustStart(t, g.Go("worker", func(ctx context.Context) error {
				<-LastCall(ctx)
				time.Sleep(time.Duration(i) * time.Millisecond)
				return fmt.Errorf("number %d", i)
			}))
		}
		g.Stop(errBroken)
		r := g.Wait()
		if len(r.Failures) != 100 || !errors.Is(r.Failures[0], errBroken) || r.Failures[1].Error() != "go worker: number 0" || r.Failures[99].Error() != "go worker: number 98" {
			t.Errorf("%d failures, from %v to %v", len(r.Failures), r.Failures[0], r.Failures[len(r.Failures)-1])
		}
		if !slices.IsSortedFunc(r.Failures[1:11], func(a, b error) int { return len(a.Error()) - len(b.Error()) }) {
			t.Errorf("%v", r.Failures[:11])
		}
	})
}

func TestInterrupt_BeforeLastCallDoesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		g.interruptNow()
		if g.at != (deadlines{}) {
			t.Errorf("deadlines %+v", g.at)
		}
		mustStart(t, g.Go("work", func(ctx context.Context) error { return context.Cause(ctx) }))
		wantReport(t, g.Wait(), 0, "", "", "")
	})
}
