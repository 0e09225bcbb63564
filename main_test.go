package lastcall

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/internal/signals"
)

func TestMain_ReturnsTheExitCodeOfTheStop(t *testing.T) {
	for _, c := range []struct {
		name string
		work func(ctx context.Context) error
		want int
	}{
		{"finished", takes(time.Second), 0},
		{"failed", func(context.Context) error { return errBroken }, 1},
		{"interrupted", obedient, 75},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, _ := testConfig()
				p := runMain(cfg, func(_ context.Context, g *Group) error { return g.Go("work", c.work) })
				p.signal(syscall.SIGTERM)
				if got := <-p.code; got != c.want {
					t.Errorf("code %d, want %d", got, c.want)
				}
			})
		})
	}
}

func TestMain_AProgramThatIsDoneEndsByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		for name, setup := range map[string]func(context.Context, *Group) error{
			"work":    func(_ context.Context, g *Group) error { return g.Go("work", takes(time.Hour)) },
			"nothing": func(context.Context, *Group) error { return nil },
		} {
			if code := <-runMain(cfg, setup).code; code != 0 {
				t.Errorf("%s: code %d", name, code)
			}
		}
		cfg.Signals = make(chan os.Signal)
		if code := Main(cfg, nil); code != 0 {
			t.Errorf("without a setup: code %d", code)
		}
	})
}

func TestReady_TurnsTrueWhenSetupHasReturnedAndFalseAtLastCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			if g.Ready() {
				t.Error("ready during setup")
			}
			mustStart(t, g.Loop("service", obedient))
			time.Sleep(time.Second)
			if g.Ready() {
				t.Error("ready during setup")
			}
			return nil
		})
		time.Sleep(2 * time.Second)
		if !p.group.Ready() {
			t.Error("not ready after setup")
		}
		p.signal(syscall.SIGINT)
		if p.group.Ready() {
			t.Error("ready after last call")
		}
		<-p.code
	})
}

func TestSetup_AnErrorOfSetupIsAFailureAndRunsTheClosersRegisteredSoFar(t *testing.T) {
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, log := testConfig()
				closed, ready := false, false
				p := runMain(cfg, func(_ context.Context, g *Group) error {
					g.Defer("db", func(context.Context) error { closed, ready = true, g.Ready(); return nil })
					mustStart(t, g.Loop("consumer", obedient))
					return end.fn()
				})
				if code := <-p.code; code != 1 || !closed || ready {
					t.Errorf("code %d, closed %v, ready %v", code, closed, ready)
				}
				if len(log.lines("setup failed", end.want)) != 1 {
					t.Errorf("the log is %s", log)
				}
			})
		})
	}
}

func TestSetup_TheContextOfASetupThatStillRunsEndsAtLastCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		p := runMain(cfg, func(ctx context.Context, g *Group) error {
			<-ctx.Done() // a migration, for example
			if !errors.Is(context.Cause(ctx), ErrStopping) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			if err := g.Loop("service", obedient); !errors.Is(err, ErrStopping) {
				t.Errorf("a loop after last call: %v", err)
			}
			return ctx.Err()
		})
		began := time.Now()
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the stop", time.Since(began), 0, 0)
	})
}

func TestSetup_WhatSetupMadeWithItsContextLivesUntilInterrupt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		var ended, began time.Time
		p := runMain(cfg, func(ctx context.Context, g *Group) error {
			context.AfterFunc(ctx, func() { ended = time.Now() })
			return g.Go("work", obedient)
		})
		time.Sleep(time.Minute)
		began = time.Now()
		p.signal(syscall.SIGTERM)
		<-p.code
		synctest.Wait()
		wantTook(t, "setup's context", ended.Sub(began), atInterrupt, 0)
	})
}

func TestSetup_ASignalBeforeSetupIsNotLostAndSetupHearsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log := testConfig()
		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGTERM
		cfg.Signals = signals
		ran := false
		code := Main(cfg, func(ctx context.Context, g *Group) error {
			ran = true // either of the two may be first
			<-LastCall(ctx)
			<-ctx.Done()
			return nil
		})
		if code != 0 || len(log.lines("stop", "signal=SIGTERM")) != 1 {
			t.Errorf("code %d, setup ran: %v\n%s", code, ran, log)
		}
	})
}

func TestSignal_ASecondSignalInterruptsAtOnceInEachPhase(t *testing.T) {
	for name, second := range map[string]time.Duration{"in the delay": time.Second, "in the drain": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg, _ := testConfig()
				cfg.Delay = 5 * time.Second
				var cut time.Time
				l := newPipeListener()
				p := runMain(cfg, func(_ context.Context, g *Group) error {
					mustStart(t, g.HTTP("api", quietServer(nil), l))
					return g.Go("work", func(ctx context.Context) error { <-ctx.Done(); cut = time.Now(); return ctx.Err() })
				})
				began := time.Now()
				p.signal(syscall.SIGTERM)
				time.Sleep(second)
				p.signal(syscall.SIGINT) // any stop signal counts
				if code := <-p.code; code != 75 {
					t.Errorf("code %d", code)
				}
				wantTook(t, "the way to Interrupt", cut.Sub(began), second, 0)
				wantTook(t, "the stop", time.Since(began), second, 0)
			})
		})
	}
}

func TestSignal_ASecondSignalLeavesTheUnresponsiveHalfTheReserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		letGo := make(chan struct{})
		defer close(letGo)
		p := runMain(cfg, func(_ context.Context, g *Group) error { return g.Go("unresponsive", unresponsive(letGo)) })
		began := time.Now()
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 3 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the stop", time.Since(began), time.Second, 0)
	})
}

func TestSignal_AThirdSignalEndsTheProcessWith128PlusItsNumber(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
		bubble(t, func(t *testing.T) {
			cfg, _ := testConfig()
			letGo := make(chan struct{})
			defer close(letGo)
			p := runMain(cfg, func(_ context.Context, g *Group) error { return g.Go("unresponsive", unresponsive(letGo)) })
			p.signal(syscall.SIGTERM)
			p.signal(syscall.SIGTERM)
			if len(p.forced) != 0 {
				t.Error("the second one ended the process")
			}
			p.signal(signal)
			select {
			case code := <-p.forced:
				if code != want {
					t.Errorf("code %d, want %d", code, want)
				}
			default:
				t.Error("the process lives on")
			}
			<-p.code
		})
	}
}

func TestGrace_WithoutAGraceAStopTakesAsLongAsTheWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Grace = -1
		p := runMain(cfg, func(_ context.Context, g *Group) error { return g.Go("work", takes(10*time.Minute)) })
		began := time.Now()
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the stop", time.Since(began), 10*time.Minute, 0)
	})
}

func TestGrace_WithoutAGraceASecondSignalInterruptsAndThenTheReserveCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Grace = -1
		letGo := make(chan struct{})
		defer close(letGo)
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			mustStart(t, g.Go("obedient", obedient))
			return g.Go("unresponsive", unresponsive(letGo))
		})
		p.signal(syscall.SIGTERM)
		time.Sleep(10 * time.Minute)
		began := time.Now()
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 3 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the rest", time.Since(began), 2500*time.Millisecond, 0)
	})
}

func TestSignal_AfterAFailureIsTheFirstOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log := testConfig()
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			mustStart(t, g.Go("work", takes(5*time.Second)))
			return g.Go("broken", func(context.Context) error { return errBroken })
		})
		p.signal(syscall.SIGTERM) // interrupts nothing
		began := time.Now()
		if code := <-p.code; code != 1 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the drain", time.Since(began), 5*time.Second, 0)
		if len(log.lines("signal during a stop", "SIGTERM")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestSignal_OtherSignalsDoNotStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		p := runMain(cfg, nil)
		for _, s := range []os.Signal{signals.Continue, signals.Pipe} {
			if s, ok := s.(syscall.Signal); ok {
				p.signal(s)
			}
		}
		time.Sleep(time.Minute)
		if !p.group.Ready() {
			t.Error("it stopped")
		}
		p.signal(syscall.SIGTERM)
		<-p.code
	})
}

func TestSignal_StopSignalsReplaceTheDefaultOnes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.StopSignals = []os.Signal{syscall.SIGQUIT}
		p := runMain(cfg, nil)
		p.signal(syscall.SIGTERM)
		time.Sleep(time.Minute)
		if !p.group.Ready() {
			t.Error("SIGTERM stopped it")
		}
		p.signal(syscall.SIGQUIT)
		if code := <-p.code; code != 0 {
			t.Errorf("code %d", code)
		}
	})
}

func TestSignal_AClosedSignalChannelIsNoSignal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		p := runMain(cfg, nil)
		close(p.signals)
		time.Sleep(time.Minute)
		if !p.group.Ready() {
			t.Error("it stopped")
		}
		p.group.Stop(nil)
		<-p.code
	})
}

// stuckError is an error whose Error method hangs until the test ends it, so that the report
// cannot be written.
type stuckError chan struct{}

func (e stuckError) Error() string { <-e; return "at last" }

func TestWatchdog_EndsAStopThatHangsWithCode3(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(report, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.TerminationLog = report
		stuck := make(stuckError)
		p := runMain(cfg, nil)
		began := time.Now()
		p.group.Stop(stuck)
		if code := <-p.forced; code != 3 {
			t.Errorf("code %d", code)
		}
		wantTook(t, "the watchdog", time.Since(began), atExit, 2*stopPulse)
		close(stuck)
		<-p.code
	})
}

// hangsInDrain is a server whose drain hangs until the test ends it.
type hangsInDrain struct{ letGo chan struct{} }

func (s hangsInDrain) drain()                          { <-s.letGo }
func (s hangsInDrain) drained() bool                   { return true }
func (s hangsInDrain) interrupt()                      {}
func (s hangsInDrain) abandon()                        {}
func (s hangsInDrain) release()                        {}
func (s hangsInDrain) open() []Entry                   { <-s.letGo; return nil }
func (s hangsInDrain) served() (finished, cut []Entry) { return nil, nil }

func TestWatchdog_ReportHasTheExitCodeAndWhatIsAbandoned(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(report, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.TerminationLog = report
		letGo := make(chan struct{})
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			g.servers = append(g.servers, hangsInDrain{letGo})
			mustStart(t, g.Go("works", obedient))
			return g.Loop("loops", obedient)
		})
		p.signal(syscall.SIGTERM)
		if code := <-p.forced; code != 3 {
			t.Errorf("code %d", code)
		}
		text, err := os.ReadFile(report)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"stopped by SIGTERM in", ", exit code 3: 1 finished, 0 interrupted, 1 abandoned\n",
			"\nthe stop itself hung: the watchdog ended the process\n", "\nabandoned   go works",
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		close(letGo)
		<-p.code
	})
}

func TestLog_HasALineForEachPhase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log := testConfig()
		letGo := make(chan struct{})
		defer close(letGo)
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			mustStart(t, g.Go("obedient", obedient))
			return g.Go("unresponsive", unresponsive(letGo))
		})
		p.signal(syscall.SIGTERM)
		<-p.code
		at := 0
		for _, want := range []string{
			`msg=stop phase="last call" signal=SIGTERM goroutines=2 left=18s`,
			`msg=stop phase=drain left=18s`,
			`msg=stop phase=interrupt left=1s`,
			`msg=interrupting kind=go name=obedient`,
			`msg=interrupting kind=go name=unresponsive`,
			`msg=stop phase=abandon`,
			`msg=abandoned kind=go name=unresponsive`,
			`msg=stop phase=close`,
			`msg=stopped code=3`,
		} {
			i := strings.Index(log.String()[at:], want)
			if i < 0 {
				t.Fatalf("%q is missing or too early in\n%s", want, log)
			}
			at += i
		}
	})
}
