package lastcall

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGo_ANilReturnOfAGoEndsOnlyItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("short", takes(time.Second)))
		mustStart(t, g.Go("long", takes(time.Minute)))
		began := time.Now()
		wantReport(t, g.Wait(), 0, "", "", "")
		wantTook(t, "the group", time.Since(began), time.Minute, 0)
	})
}

// ends are the ways in which a goroutine can end other than by returning nil.
var ends = []struct {
	name string
	fn   func() error
	want string // in the failure
}{
	{"error", func() error { return errBroken }, "the disk is full"},
	{"panic", func() error { panic("no such row") }, "panic: no such row"},
	{"panic with an error", func() error { panic(errBroken) }, "panic: the disk is full"},
	{"Goexit", func() error { runtime.Goexit(); return nil }, "runtime.Goexit"},
	{"cancelled by somebody else", func() error { return context.Canceled }, "context canceled"},
}

func TestFailure_AnErrorPanicOrGoexitBeginsAStopAndIsAFailure(t *testing.T) {
	for _, kind := range []EntryKind{EntryGo, EntryLoop} {
		for _, end := range ends {
			t.Run(string(kind)+" "+end.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g, log := newTestGroup(t)
					mustStart(t, g.Loop("other", obedient))
					fn := func(context.Context) error { time.Sleep(time.Second); return end.fn() }
					if kind == EntryGo {
						mustStart(t, g.Go("worker", fn))
					} else {
						mustStart(t, g.Loop("worker", fn))
					}
					r := g.Wait()
					wantReport(t, r, 1, "loop other", "", "")
					if r.Cause == nil || len(r.Failures) != 1 || !strings.Contains(r.Cause.Error(), string(kind)+" worker: ") || !strings.Contains(r.Cause.Error(), end.want) {
						t.Errorf("cause %v, failures %v", r.Cause, r.Failures)
					}
					lines := log.lines("level=ERROR", "goroutine failed", "name=worker", "goroutine_test.go:")
					if len(lines) != 1 {
						t.Errorf("the log is %s", log)
					}
					if strings.HasPrefix(end.name, "panic") && !strings.Contains(lines[0], "stack=") {
						t.Errorf("no stack in %s", lines[0])
					}
				})
			})
		}
	}
}

func TestFailure_TheErrorOfAFailureCanBeFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, fn := range []func(context.Context) error{
			func(context.Context) error { return fmt.Errorf("import: %w", errBroken) },
			func(context.Context) error { panic(errBroken) },
		} {
			g, _ := newTestGroup(t)
			mustStart(t, g.Go("import", fn))
			if r := g.Wait(); !errors.Is(r.Cause, errBroken) {
				t.Errorf("the cause is %v", r.Cause)
			}
		}
	})
}

func TestLoop_ThatReturnsEarlyBeginsAStopWithCode1EvenWithNil(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Loop("consumer", takes(time.Second)))
		mustStart(t, g.Loop("other", obedient))
		r := g.Wait()
		wantReport(t, r, 1, "loop other", "", "")
		if r.Cause == nil || !strings.Contains(r.Cause.Error(), "loop consumer: returned before last call") {
			t.Errorf("the cause is %v", r.Cause)
		}
	})
}

// onStop is the moment of a stop at which a goroutine returns, and its result.
type onStop struct {
	name   string
	after  time.Duration
	err    error
	code   int
	finish string // with %s for the kind
	cut    string
}

func TestGroup_AfterLastCallAnErrorMeansWhatItsMomentSays(t *testing.T) {
	wrapped := fmt.Errorf("read: %w", context.Canceled)
	for _, c := range []onStop{
		{"nil at once", 0, nil, 0, "%s work", ""},
		{"cancelled at once", 0, wrapped, 0, "%s work", ""},
		{"ErrStopping at once", 0, ErrStopping, 0, "%s work", ""},
		{"an error in the drain", time.Second, errBroken, 1, "%s work", ""},
		{"a timeout in the drain", time.Second, context.DeadlineExceeded, 1, "%s work", ""},
		{"nil after Interrupt: it recorded that itself", atInterrupt + 1, nil, 0, "%s work", ""},
		{"cancelled after Interrupt", atInterrupt + 1, wrapped, 75, "", "%s work"},
		{"an error after Interrupt", atInterrupt + 1, errBroken, 75, "", "%s work"},
	} {
		for _, kind := range []EntryKind{EntryGo, EntryLoop, EntryBackground} {
			t.Run(c.name+" "+string(kind), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g, _ := newTestGroup(t)
					fn := func(ctx context.Context) error {
						<-LastCall(ctx)
						time.Sleep(c.after)
						return c.err
					}
					code := c.code
					switch kind {
					case EntryGo:
						mustStart(t, g.Go("work", fn))
					case EntryLoop:
						mustStart(t, g.Loop("work", fn))
					default:
						mustStart(t, g.Background(t.Context(), "work", fn))
						if code == 1 {
							code = 0 // counted, but begins no stop
						}
					}
					g.Stop(nil)
					r := g.Wait()
					wantReport(t, r, code, strings.ReplaceAll(c.finish, "%s", string(kind)), strings.ReplaceAll(c.cut, "%s", string(kind)), "")
					if c.cut != "" && (len(r.Interrupted) != 1 || !errors.Is(r.Interrupted[0].Err, c.err)) {
						t.Errorf("the error is lost: %+v", r.Interrupted)
					}
				})
			})
		}
	}
}

func TestFailure_APanicIsAFailureInEveryPhase(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, atInterrupt + 1} {
		bubble(t, func(t *testing.T) {
			g, log := newTestGroup(t)
			mustStart(t, g.Go("work", func(ctx context.Context) error {
				<-LastCall(ctx)
				time.Sleep(after)
				panic(context.Canceled) // a panic is never a clean end
			}))
			g.Stop(nil)
			r := g.Wait()
			if r.ExitCode() != 1 || len(r.Failures) != 1 || len(log.lines("goroutine failed", "stack=")) != 1 {
				t.Errorf("after %v: %v\n%s", after, r, log)
			}
		})
	}
}

func TestBackground_KeepsTheValuesAndDropsTheCancellation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		request, cancel := context.WithTimeout(context.WithValue(t.Context(), traceKey{}, "7f"), time.Minute)
		request = pprof.WithLabels(request, pprof.Labels("route", "/import"))
		var began time.Time
		mustStart(t, g.Background(request, "import", func(ctx context.Context) error {
			if ctx.Value(traceKey{}) != "7f" {
				t.Error("the trace id is lost")
			}
			if route, _ := pprof.Label(ctx, "route"); route != "/import" {
				t.Errorf("the request's label is %q", route)
			}
			if name, _ := pprof.Label(ctx, nameLabel); name != "import" {
				t.Errorf("the group's label is %q", name)
			}
			if _, ok := ctx.Deadline(); ok {
				t.Error("the request's deadline is kept")
			}
			<-ctx.Done()
			wantTook(t, "the context", time.Since(began), atInterrupt, 0)
			if !errors.As(context.Cause(ctx), new(*InterruptError)) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			return nil
		}))
		cancel()
		time.Sleep(time.Hour)
		began = time.Now()
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "background import", "", "")
	})
}

func TestBackground_TheErrorsOfABackgroundAreLoggedAndCountedAndStopNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, log := newTestGroup(t)
		mustStart(t, g.Loop("service", obedient))
		for _, end := range ends {
			mustStart(t, g.Background(t.Context(), "mail", func(context.Context) error { return end.fn() }))
		}
		mustStart(t, g.Background(t.Context(), "mail", takes(time.Second)))
		time.Sleep(time.Hour)
		if !g.Ready() {
			t.Error("a stop began")
		}
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 0, "loop service", "", "")
		if r.BackgroundErrors != len(ends) || len(r.Failures) != 0 {
			t.Errorf("%d errors in the background, failures %v", r.BackgroundErrors, r.Failures)
		}
		if got := len(log.lines("goroutine failed", "kind=background", "name=mail")); got != len(ends) {
			t.Errorf("%d lines in the log:\n%s", got, log)
		}
	})
}

func TestGroup_ANilFunctionPanicsAtTheCallWithTheName(t *testing.T) {
	g, _ := newTestGroup(t)
	for name, call := range map[string]func(){
		"Go(a)":         func() { _ = g.Go("a", nil) },
		"Loop(b)":       func() { _ = g.Loop("b", nil) },
		"Background(c)": func() { _ = g.Background(t.Context(), "c", nil) },
		"Defer(d)":      func() { g.Defer("d", nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, name) {
					t.Errorf("%s: recovered %q", name, got)
				}
			}()
			call()
		}()
	}
}

func TestGroup_AnEmptyNameIsReplacedByThePlaceOfTheCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("", obedient))
		mustStart(t, g.Loop("", obedient))
		mustStart(t, g.Background(t.Context(), "", obedient))
		g.Stop(nil)
		r := g.Wait()
		for _, l := range append(r.Finished, r.Interrupted...) {
			if !strings.Contains(l.Name, "/goroutine_test.go:") || l.Name != l.CallSite {
				t.Errorf("%+v", l)
			}
		}
		if len(r.Finished)+len(r.Interrupted) != 3 {
			t.Errorf("%v", r)
		}
	})
}

// Each Go must either run and be waited for, or be refused. A stop comes in the middle of
// thousands of calls: as many functions must have run as were accepted.
func TestGo_EitherStartsAndIsWaitedForOrIsRefused(t *testing.T) {
	const callers = 8
	for round := range 200 {
		g, _ := newTestGroup(t)
		mustStart(t, g.Loop("service", obedient))
		var accepted, refused, ran atomic.Int64
		var all sync.WaitGroup
		work := func(context.Context) error { runtime.Gosched(); ran.Add(1); return nil }
		for caller := range callers {
			all.Go(func() {
				for refused.Load() < callers {
					var err error
					if caller%2 == 0 {
						err = g.Go("work", work)
					} else {
						err = g.Background(t.Context(), "work", work)
					}
					switch {
					case err == nil:
						accepted.Add(1)
					case errors.Is(err, ErrStopping):
						refused.Add(1)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		for accepted.Load() < int64(round) {
			runtime.Gosched()
		}
		g.Stop(nil)
		if err := g.Go("late", work); !errors.Is(err, ErrStopping) {
			t.Fatalf("after Stop has returned: %v", err)
		}
		r := g.Wait()
		done := ran.Load()
		all.Wait()
		if done != accepted.Load() || len(r.Abandoned)+len(r.Failures) > 0 {
			t.Fatalf("round %d: %d were accepted and %d had run when the stop was over\n%s", round, accepted.Load(), done, r)
		}
	}
}

func TestGroup_FromLastCallOnAGroupWithoutAServerRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			<-LastCall(ctx)
			for kind, err := range map[string]error{
				"Go": g.Go("more", obedient), "Loop": g.Loop("more", obedient), "Background": g.Background(ctx, "more", obedient),
			} {
				if !errors.Is(err, ErrStopping) {
					t.Errorf("%s: %v", kind, err)
				}
			}
			return nil
		}))
		g.Stop(nil)
		g.Wait()
		synctest.Wait()
		if err := g.Go("after the end", obedient); !errors.Is(err, ErrStopping) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestRegistry_AReportCountsGoroutinesThatShareAName(t *testing.T) {
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

func TestRegistry_TheSiteIsWhereTheNameWasFirstUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		here := func() string { mustStart(t, g.Go("work", takes(time.Second))); return callSite(1) }()
		mustStart(t, g.Go("work", takes(time.Second)))
		g.Stop(nil)
		r := g.Wait()
		if len(r.Finished) != 1 || r.Finished[0].Count != 2 || r.Finished[0].CallSite != here {
			t.Errorf("%v, want %s", r.Finished, here)
		}
	})
}

func TestRegistry_MoreThan1024NamesWorkAndAreReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		const many = maxNames + 300
		for i := range many {
			mustStart(t, g.Go(fmt.Sprintf("work %04d", i), takes(time.Second)))
			mustStart(t, g.Go(fmt.Sprintf("work %04d", i), takes(time.Second)))
		}
		mustStart(t, g.Go("unresponsive, and the last name", unresponsive(letGo)))
		synctest.Wait()
		if n := len(g.registry.named); n != maxNames {
			t.Errorf("%d names are kept", n)
		}
		g.Stop(nil)
		r := g.Wait()
		if count(r.Finished) != 2*many || names(r.Abandoned) != "go unresponsive, and the last name" || r.Abandoned[0].Stack == "" {
			t.Errorf("%d finished, abandoned %v", count(r.Finished), r.Abandoned)
		}
	})
}

func TestRegistry_TheLinesOfNamesBeyondTheCacheAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		for i := range maxNames + maxStray + 500 {
			mustStart(t, g.Go(fmt.Sprintf("work %04d", i), takes(time.Second)))
		}
		g.Stop(nil)
		r := g.Wait()
		if r.ExitCode() != 0 || len(r.Finished) != maxNames+maxStray {
			t.Errorf("%d entries, code %d", len(r.Finished), r.ExitCode())
		}
	})
}

func TestRegistry_EveryKindHasNamesOfItsOwn(t *testing.T) {
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
