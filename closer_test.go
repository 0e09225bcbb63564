package lastcall

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/stackdump"
)

// order records the order of events.
type order []string

func (o *order) closer(name string) func(context.Context) error {
	return CloseFunc(func() error { *o = append(*o, name); return nil })
}

func TestCloser_RunInReverseOrderAfterEveryoneWhoUsesThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		var got order
		g.Defer("db", got.closer("db"))
		g.Defer("cache", got.closer("cache"))
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			<-ctx.Done() // uses all the time that it has
			time.Sleep(500 * time.Millisecond)
			got = append(got, "work")
			return nil
		}))
		g.Stop(nil)
		g.Wait()
		if want := (order{"work", "cache", "db"}); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestCloser_RunAfterAbandonWhenSomebodyIsUnresponsive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
		var began, closed time.Time
		g.Defer("db", func(context.Context) error { closed = time.Now(); return nil })
		began = time.Now()
		g.Stop(nil)
		wantReport(t, g.Wait(), 3, "", "", "go unresponsive")
		wantTook(t, "the wait for the closer", closed.Sub(began), atAbandon, 0)
	})
}

func TestCloser_TheContextOfACloserTellsItsTimeAndHasTheParentsValues(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		g := mustNew(context.WithValue(t.Context(), traceKey{}, "parent"), t, cfg)
		var shares []time.Duration
		var began time.Time
		share := func(uses time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				if ctx.Err() != nil || ctx.Value(traceKey{}) != "parent" {
					t.Errorf("Err %v, value %v", ctx.Err(), ctx.Value(traceKey{}))
				}
				at, _ := ctx.Deadline()
				shares = append(shares, at.Sub(began))
				time.Sleep(uses)
				return nil
			}
		}
		// 19.9 s are left for closing when nothing had to be waited for. Each leaves a twentieth of it
		// for each of those that follow, and its context ends 100 ms before its time is over.
		g.Defer("third", share(0))
		g.Defer("second", share(0))
		g.Defer("first", share(1900*time.Millisecond))
		began = time.Now()
		g.Stop(nil)
		g.Wait()
		want := []time.Duration{
			atClosed - 2*atClosed/20 - 100*time.Millisecond,
			atClosed - atClosed/20 - 100*time.Millisecond,
			atClosed - 100*time.Millisecond,
		}
		for i := range want {
			if i >= len(shares) || (shares[i]-want[i]).Abs() > time.Millisecond {
				t.Fatalf("shares %v, want %v", shares, want)
			}
		}
	})
}

func TestCloser_ThatObeysItsContextIsNotAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		g.Defer("flush", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 1, "", "", "")
		if len(r.Failures) != 1 || !errors.Is(r.Failures[0], context.DeadlineExceeded) || !strings.HasPrefix(r.Failures[0].Error(), "closer flush: ") {
			t.Errorf("%v", r.Failures)
		}
	})
}

func TestCloser_OverrunIsAbandonedByNameAndTheNextOneRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, log := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		var got order
		g.Defer("db", got.closer("db"))
		g.Defer("hangs", unresponsive(letGo))
		g.Defer("cache", got.closer("cache"))
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 3, "", "", "closer hangs")
		if want := (order{"cache", "db"}); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		l := r.Abandoned[0]
		wantTook(t, "its time", l.Age, atClosed-atClosed/20, time.Millisecond)
		if !strings.Contains(l.CallSite, "/closer_test.go:") || !strings.Contains(l.Stack, "closer_test.go") && !strings.Contains(l.Stack, "unresponsive") {
			t.Errorf("%+v", l)
		}
		if len(log.lines("level=ERROR", "abandoned", "kind=closer", "name=hangs", "call_site=")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

// The watchdog may come while the stacks are collected: its report must name what hangs.
func TestCloser_OverrunIsNamedBeforeItsStackIsFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo, asked := make(chan struct{}), make(chan struct{})
		defer close(letGo)
		take := g.dump
		g.dump = func() iter.Seq[stackdump.Record] {
			close(asked)
			<-letGo
			return take()
		}
		g.Defer("hangs", unresponsive(letGo))
		g.Stop(nil)
		<-asked
		if got := g.reportSoFar().Abandoned; len(got) != 1 || got[0].Name != "hangs" || got[0].Stack != "" {
			t.Errorf("while the stacks are collected the report has %+v", got)
		}
		if r := g.Wait(); len(r.Abandoned) != 1 || r.Abandoned[0].Stack != "" {
			t.Errorf("%+v", r.Abandoned)
		}
	})
}

func TestCloser_ManyClosersThatHangEndWithinTheBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
		for range 20 {
			g.Defer("hangs", unresponsive(letGo))
		}
		g.Stop(nil)
		r := g.Wait()
		if r.ExitCode() != 3 || count(r.Abandoned) != 21 || r.Took > atExit {
			t.Errorf("%v", r)
		}
	})
}

// A closer that needs its time gets it, although another one hangs and others need none.
func TestCloser_ThatIsSlowIsNotCutWhileThereIsTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
		var got order
		for range 8 {
			g.Defer("quick", got.closer("quick"))
		}
		g.Defer("flush", func(context.Context) error {
			time.Sleep(400 * time.Millisecond)
			got = append(got, "flush")
			return nil
		})
		g.Defer("first", got.closer("first"))
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 3, "", "", "go unresponsive")
		if len(got) != 10 || got[1] != "flush" {
			t.Errorf("%v", got)
		}
	})
}

// Each closer that runs after one that hangs gets the time that was kept for it: a twentieth of the
// phase, or an equal part of its half.
func TestCloser_ThatHangsLeavesTimeForTheOthers(t *testing.T) {
	for _, c := range []struct {
		others int
		uses   time.Duration
	}{{1, 980 * time.Millisecond}, {5, 980 * time.Millisecond}, {20, 460 * time.Millisecond}} {
		bubble(t, func(t *testing.T) {
			g, _ := newTestGroup(t)
			letGo := make(chan struct{})
			defer close(letGo)
			closed := 0
			for range c.others {
				g.Defer("closes", func(context.Context) error {
					time.Sleep(c.uses)
					closed++
					return nil
				})
			}
			g.Defer("hangs", unresponsive(letGo))
			g.Stop(nil)
			r := g.Wait()
			if closed != c.others || len(r.Failures) != 0 || r.Took > atExit {
				t.Errorf("%d of %d have closed: %v", closed, c.others, r)
			}
			wantReport(t, r, 3, "", "", "closer hangs")
		})
	}
}

func TestCloser_WhatIsKeptForThoseThatHaveNotRunYet(t *testing.T) {
	began := time.Now()
	for _, c := range []struct {
		what              string
		closers, left     int
		passed, end, want time.Duration
	}{
		{"a twentieth", 3, 3, 0, 20 * time.Second, time.Second},
		{"the same when the first has used its time", 3, 2, 18 * time.Second, 20 * time.Second, time.Second},
		{"100 ms of a short phase", 3, 3, 0, time.Second, 100 * time.Millisecond},
		{"half of the phase for all", 20, 20, 0, 10 * time.Second, 250 * time.Millisecond},
		{"also for those that were registered later", 1, 20, 0, 10 * time.Second, 250 * time.Millisecond},
		{"a part of what is left, in a phase that became shorter", 5, 5, 9900 * time.Millisecond, 10 * time.Second, 20 * time.Millisecond},
		{"nothing after its end", 5, 5, 2 * time.Second, time.Second, 0},
		{"nothing of a phase that begins too late", 5, 5, 0, -time.Second, 0},
	} {
		p := closingPhase{began: began, closers: c.closers}
		if got := p.kept(began.Add(c.passed), began.Add(c.end), c.left); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// After one that hangs, several in a row that hang do not shorten the time of the last one.
func TestCloser_ThatHangAllLeaveTheLastOneItsTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		closed := false
		g.Defer("db", func(context.Context) error {
			time.Sleep(980 * time.Millisecond)
			closed = true
			return nil
		})
		for range 4 {
			g.Defer("hangs", unresponsive(letGo))
		}
		g.Stop(nil)
		if r := g.Wait(); !closed || r.ExitCode() != 3 || r.Took > atExit {
			t.Errorf("closed: %t, %v", closed, r)
		}
	})
}

func TestCloser_TheErrorPanicOrGoexitOfACloserIsAFailureAndHoldsUpNobody(t *testing.T) {
	for _, end := range ends {
		bubble(t, func(t *testing.T) {
			g, log := newTestGroup(t)
			var got order
			g.Defer("db", got.closer("db"))
			g.Defer("broken", func(context.Context) error { return end.fn() })
			g.Stop(nil)
			r := g.Wait()
			wantReport(t, r, 1, "", "", "")
			if len(r.Failures) != 1 || !strings.Contains(r.Failures[0].Error(), "closer broken: ") || !strings.Contains(r.Failures[0].Error(), end.want) {
				t.Errorf("%s: %v", end.name, r.Failures)
			}
			if r.Cause != nil || len(got) != 1 || r.Took != 0 {
				t.Errorf("%s: cause %v, then %v, took %v", end.name, r.Cause, got, r.Took)
			}
			if len(log.lines("level=ERROR", "closer failed", "name=broken")) != 1 {
				t.Errorf("the log is %s", log)
			}
		})
	}
}

func TestCloser_RegisteredWhileClosersRunRunsNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		var got order
		g.Defer("db", got.closer("db"))
		g.Defer("files", func(context.Context) error {
			got = append(got, "files")
			g.Defer("late", got.closer("late"))
			return nil
		})
		g.Stop(nil)
		g.Wait()
		if want := (order{"files", "late", "db"}); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestCloser_RegisteredAfterTheLastOneRunsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, log := newTestGroup(t)
		g.Wait()
		ran := false
		g.Defer("late", func(context.Context) error { ran = true; return errors.New("torn") })
		if !ran {
			t.Error("it was leaked")
		}
		if len(log.lines("level=ERROR", "name=late", "call_site=", "/closer_test.go:", "error=torn")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestCloser_ALateCloserThatHangsIsGivenUpAfterHalfTheReserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, log := newTestGroup(t)
		g.Wait()
		letGo := make(chan struct{})
		defer close(letGo)
		began := time.Now()
		g.Defer("late", func(context.Context) error { <-letGo; return nil })
		if took, half := time.Since(began), g.budget.reserve/2; took != half {
			t.Errorf("Defer took %v, want %v", took, half)
		}
		if len(log.lines("level=ERROR", "msg=abandoned", "name=late")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestCloser_EachCloserHasAGoroutineOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		ran := 0
		for range 3 {
			g.Defer("exits", func(context.Context) error { ran++; runtime.Goexit(); return nil })
		}
		g.Stop(nil)
		if r := g.Wait(); ran != 3 || len(r.Failures) != 3 {
			t.Errorf("%d ran, failures %v", ran, r.Failures)
		}
	})
}

func TestCloser_ASecondSignalShortensTheTimeOfTheClosers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		letGo := make(chan struct{})
		defer close(letGo)
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			g.Defer("hangs", unresponsive(letGo))
			return g.Loop("service", obedient)
		})
		began := time.Now()
		p.signal(syscall.SIGTERM)
		time.Sleep(time.Second)
		p.signal(syscall.SIGINT)
		if code := <-p.code; code != 3 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the stop", time.Since(began), 2900*time.Millisecond, 100*time.Millisecond)
	})
}

func TestCloser_WithoutAGraceAClosersTimeIsBoundedByASecondSignalOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Grace = -1
		letGo := make(chan struct{})
		defer close(letGo)
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			g.Defer("hangs", func(ctx context.Context) error {
				if at, ok := ctx.Deadline(); ok {
					t.Errorf("a deadline at %v", at)
				}
				<-letGo
				return nil
			})
			return g.Loop("service", obedient)
		})
		p.signal(syscall.SIGTERM)
		time.Sleep(10 * time.Minute)
		select {
		case code := <-p.code:
			t.Fatalf("ended with %d", code)
		default:
		}
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 3 {
			t.Errorf("code %d", code)
		}
	})
}
