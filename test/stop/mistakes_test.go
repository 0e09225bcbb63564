package stop_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
)

// docs/shutdown.md lists the mistakes that programs make when they stop, and for each of them the
// tests that show its outcome with Lastcall. Most of these tests are next to the behaviour that
// they test; the ones that belong nowhere else are below. A test of package docs checks that the
// tests named on that page exist.

func newGroup(ctx context.Context, t *testing.T, cfg lastcall.Config) *lastcall.Group {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	g, err := lastcall.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMistake03_TheContextThatTheSignalEndsDoesNotEndTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, signal := context.WithCancel(t.Context())
		g := newGroup(ctx, t, lastcall.Config{Grace: time.Minute})
		var drained error
		_ = g.Go("job", func(ctx context.Context) error {
			<-lastcall.LastCall(ctx)
			time.Sleep(30 * time.Second)
			drained = ctx.Err()
			return nil
		})
		signal()
		if r := g.Wait(); r.Took != 30*time.Second || drained != nil {
			t.Errorf("the drain took %v of the 30 s that the work needed, and its context said %v", r.Took, drained)
		}
	})
}

func TestMistake04_TheDeadlineCountsFromTheStopNotFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t.Context(), t, lastcall.Config{Grace: 10 * time.Second})
		var left time.Duration
		_ = g.Go("job", func(ctx context.Context) error {
			<-lastcall.LastCall(ctx)
			left, _ = lastcall.TimeLeft(ctx)
			return nil
		})
		time.Sleep(24 * time.Hour)
		g.Stop(nil)
		g.Wait()
		if left != 9*time.Second {
			t.Errorf("after a day %v were left to drain, want 9 s", left)
		}
	})
}

func TestMistake06_ABudgetThatCannotFitIsAnErrorAtStartThatNamesTheNumbers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg  lastcall.Config
		says []string
	}{
		{lastcall.Config{Grace: 30 * time.Second, PreStop: 30 * time.Second}, []string{"grace of 30s", "preStop 30s", "1s"}},
		{lastcall.Config{Grace: 30 * time.Second, Delay: 40 * time.Second}, []string{"delay of 40s", "30s"}},
		{lastcall.Config{Grace: 5 * time.Second, Reserve: 6 * time.Second}, []string{"reserve of 6s", "5s"}},
	} {
		_, err := lastcall.New(t.Context(), tc.cfg)
		for _, text := range tc.says {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("New says %v, without %q", err, text)
			}
		}
	}
}

func TestMistake10_ASignalThatCannotBeCaughtIsAnErrorAtStart(t *testing.T) {
	t.Parallel()
	var log transcript
	code := lastcall.Main(lastcall.Config{
		StopSignals:    []os.Signal{syscall.SIGTERM, os.Kill},
		Logger:         slog.New(slog.NewTextHandler(&log, nil)),
		Signals:        make(chan os.Signal),
		TerminationLog: "-",
	}, func(context.Context, *lastcall.Group) error {
		t.Error("setup was called")
		return nil
	})
	if code != 1 || !strings.Contains(log.String(), "SIGKILL") {
		t.Errorf("Main returned %d and logged %q", code, log.String())
	}
}

func TestMistake19_LastCallAndInterruptAreTwoContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t.Context(), t, lastcall.Config{Grace: 20 * time.Second})
		_ = g.Loop("consumer", func(ctx context.Context) error {
			work := lastcall.UntilInterrupt(ctx) // for the current item
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, lastcall.ErrStopping) {
				t.Errorf("the loop ends for %v, want ErrStopping", cause)
			}
			if work.Err() != nil {
				t.Error("at last call the item in hand was cancelled too")
			}
			began := time.Now()
			<-work.Done()
			if waited := time.Since(began); waited != 18*time.Second {
				t.Errorf("the item in hand had %v, want 18 s", waited)
			}
			return nil
		})
		g.Stop(nil)
		g.Wait()
	})
}

func TestMistake20_ClosersRunInReverseAfterEveryoneWhoUsesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t.Context(), t, lastcall.Config{Grace: time.Minute})
		var mu sync.Mutex
		var order []string
		note := func(what string) func() error {
			return func() error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, what)
				return nil
			}
		}
		g.Defer("db", lastcall.CloseFunc(note("db closed")))
		g.Defer("broker", lastcall.CloseFunc(note("broker closed")))
		_ = g.Loop("consumer", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(10 * time.Second) // for the current item
			return note("consumer returned")()
		})
		_ = g.Background(t.Context(), "render", func(ctx context.Context) error {
			<-lastcall.LastCall(ctx)
			time.Sleep(20 * time.Second)
			return note("render returned")()
		})
		g.Stop(nil)
		g.Wait()
		if got, want := strings.Join(order, ", "), "consumer returned, render returned, broker closed, db closed"; got != want {
			t.Errorf("the order was %s, want %s", got, want)
		}
	})
}

func TestMistake21_WorkIsRunAndAwaitedOrRefusedAndNeverLost(t *testing.T) {
	t.Parallel()
	for range 20 {
		g := newGroup(t.Context(), t, lastcall.Config{Grace: time.Minute})
		var accepted, finished atomic.Int64
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for {
					err := g.Background(context.Background(), "job", func(context.Context) error {
						finished.Add(1)
						return nil
					})
					if errors.Is(err, lastcall.ErrStopping) {
						return
					}
					accepted.Add(1)
				}
			})
		}
		for finished.Load() < 100 { // so that the stop comes in the middle
			time.Sleep(time.Millisecond)
		}
		g.Stop(nil)
		g.Wait()
		ended := finished.Load()
		callers.Wait()
		if accepted.Load() != ended {
			t.Fatalf("%d were accepted, and %d had finished when Wait returned", accepted.Load(), ended)
		}
	}
}

func TestMistake23_EveryFailureIsReportedAndEveryCloserRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t.Context(), t, lastcall.Config{Grace: time.Minute})
		disk, network, broker := errors.New("disk full"), errors.New("no network"), errors.New("broker gone")
		ran := 0
		g.Defer("db", lastcall.CloseFunc(func() error { ran++; return nil }))
		g.Defer("broker", lastcall.CloseFunc(func() error { ran++; return broker }))
		g.Defer("telemetry", lastcall.CloseFunc(func() error { ran++; panic("flush") }))
		_ = g.Loop("consumer", func(ctx context.Context) error { <-ctx.Done(); return network })
		_ = g.Go("import", func(context.Context) error { return disk })
		r := g.Wait()
		all := errors.Join(r.Failures...)
		for _, want := range []error{disk, network, broker} {
			if !errors.Is(all, want) {
				t.Errorf("the report does not have %q:\n%s", want, r)
			}
		}
		if !strings.Contains(r.String(), "closer telemetry: panic: flush") || ran != 3 {
			t.Errorf("%d of 3 closers ran:\n%s", ran, r)
		}
	})
}

func TestMistake25_TheStopOfAProgramIsTestedLikeAnyFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		go func() {
			time.Sleep(time.Hour)
			signals <- syscall.SIGTERM
		}()
		recorded := false
		code := lastcall.Main(lastcall.Config{
			Signals: signals, Grace: 30 * time.Second, Logger: slog.New(slog.DiscardHandler), TerminationLog: "-",
		}, func(_ context.Context, g *lastcall.Group) error {
			return g.Go("job", func(ctx context.Context) error {
				<-ctx.Done()
				recorded = true
				return nil
			})
		})
		if code != 0 || !recorded {
			t.Errorf("exit code %d, recorded %v", code, recorded)
		}
	})
}

func TestBudget_TheWorkedNumbersOfTheBudgetHold(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "shutdown.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (Kubernetes|Docker|systemd).*$`).FindAllString(string(page), -1)
	if len(rows) < 5 {
		t.Fatalf("docs/shutdown.md has %d rows of worked numbers, want 5", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		t.Run(cells[0], func(t *testing.T) {
			var n []time.Duration
			for _, cell := range cells[1:] {
				d, err := time.ParseDuration(cell)
				if err != nil {
					t.Fatal(err)
				}
				n = append(n, d)
			}
			if strings.HasPrefix(cells[0], "Kubernetes") {
				t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
			}
			grace, preStop, want := n[0], n[1], n[3:]
			if n[2] != n[6] {
				t.Errorf("a budget of %v ends at %v", n[2], n[6])
			}
			synctest.Test(t, func(t *testing.T) {
				if got := moments(t, lastcall.Config{Grace: grace, PreStop: preStop}); !slices.Equal(got, want) {
					t.Errorf("Interrupt, Abandon, the closers' end and the exit come at %v, want %v", got, want)
				}
			})
		})
	}
}

// moments returns when Interrupt, Abandon, the end of the last closer and the end of the group come
// after last call, if the goroutines obey nothing.
func moments(t *testing.T, cfg lastcall.Config) []time.Duration {
	g := newGroup(t.Context(), t, cfg)
	release := make(chan struct{})
	defer close(release)
	began, seen := time.Now(), make(chan time.Duration, 2)
	_ = g.Go("unresponsive", func(ctx context.Context) error {
		<-ctx.Done()
		seen <- time.Since(began)
		<-lastcall.UntilAbandon(ctx).Done()
		seen <- time.Since(began)
		<-release
		return nil
	})
	g.Defer("unresponsive closer", func(context.Context) error { <-release; return nil })
	g.Stop(nil)
	closers := g.Wait().Took
	return []time.Duration{<-seen, <-seen, closers, closers + 100*time.Millisecond}
}
