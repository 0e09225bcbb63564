//go:build unix

package stop_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// drainer is a program with one piece of work, which ends exactly when the test tells it to.
func drainer(cfg lastcall.Config) int {
	return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
		return g.Go("job", func(ctx context.Context) error {
			say("working")
			<-lastcall.LastCall(ctx)
			say("heard the last call")
			if err := hear(); err != nil {
				return err
			}
			say("context: %v", ctx.Err())
			return nil
		})
	})
}

func TestSignal_AStopSignalLetsWorkFinishAndTheExitCodeIsZero(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]syscall.Signal{
		"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT, "SIGHUP": syscall.SIGHUP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, func() int { return drainer(config(time.Minute)) })
			p.says("working")
			p.signal(s)
			p.says("heard the last call")
			p.tell("finish")
			p.says("context: <nil>")
			p.exits(0)
			p.reports("stopped by "+name, "exit code 0", "finished    go job")
		})
	}
}

func TestSignal_AStopSignalOfTheImagesOwnChoiceStopsToo(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		cfg := config(time.Minute)
		cfg.StopSignals = []os.Signal{syscall.SIGUSR1}
		return drainer(cfg)
	})
	p.says("working")
	p.signal(syscall.SIGUSR1)
	p.says("heard the last call")
	p.tell("finish")
	p.exits(0)
	p.reports("stopped by SIGUSR1")
}

func TestSignal_DuringSetupEndsItsContextAndIsNotLost(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return lastcall.Main(config(time.Minute), func(ctx context.Context, g *lastcall.Group) error {
			g.Defer("db", lastcall.CloseFunc(func() error { say("closed the db"); return nil }))
			say("setting up")
			<-ctx.Done()
			say("cause: %v", context.Cause(ctx))
			return ctx.Err()
		})
	})
	p.says("setting up")
	p.signal(syscall.SIGTERM)
	p.says("cause: " + lastcall.ErrStopping.Error())
	p.says("closed the db")
	p.exits(0)
}

// waiter is a program whose work ends only with its context.
func waiter(grace time.Duration, result func(ctx context.Context) error) int {
	return lastcall.Main(config(grace), func(_ context.Context, g *lastcall.Group) error {
		return g.Go("job", func(ctx context.Context) error {
			say("working")
			<-ctx.Done()
			return result(ctx)
		})
	})
}

func TestSignal_TheSecondSignalInterruptsAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		result func(context.Context) error
		code   int
		report string
	}{
		"recorded": {func(context.Context) error { return nil }, 0, "finished    go job"},
		"plain":    {func(ctx context.Context) error { return ctx.Err() }, 75, "interrupted go job"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, func() int {
				return waiter(10*time.Minute, func(ctx context.Context) error {
					var cause *lastcall.InterruptError
					say("interrupted: %v, by %v", errors.As(context.Cause(ctx), &cause), cause.Signal)
					return tc.result(ctx)
				})
			})
			p.says("working")
			p.signal(syscall.SIGINT)
			p.logs("phase=drain")
			p.signal(syscall.SIGINT)
			p.says("interrupted: true, by interrupt")
			p.exits(tc.code)
			p.logs("second signal: interrupting now")
			p.reports(tc.report)
		})
	}
}

func TestSignal_TheThirdSignalEndsTheProcessWith128PlusItsNumber(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		signal syscall.Signal
		code   int
	}{"SIGTERM": {syscall.SIGTERM, 143}, "SIGINT": {syscall.SIGINT, 130}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, func() int { return unresponsiveProgram(10 * time.Minute) })
			p.says("working")
			p.signal(syscall.SIGTERM)
			p.logs("phase=drain")
			p.signal(syscall.SIGTERM)
			p.logs("phase=interrupt")
			p.signal(tc.signal)
			p.exits(tc.code)
		})
	}
}

// unresponsiveProgram has one goroutine that never looks at its context.
func unresponsiveProgram(grace time.Duration) int {
	return lastcall.Main(config(grace), func(_ context.Context, g *lastcall.Group) error {
		return g.Go("unresponsive", func(context.Context) error {
			say("working")
			select {}
		})
	})
}

func TestSignal_AfterAStopThatBeganByItselfIsTheFirstOne(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return lastcall.Main(config(10*time.Minute), func(_ context.Context, g *lastcall.Group) error {
			defer g.Stop(nil)
			return g.Go("job", func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			})
		})
	})
	p.logs("phase=drain")
	p.signal(syscall.SIGTERM)
	p.logs("signal during a stop; another one interrupts")
	p.signal(syscall.SIGTERM)
	p.exits(0)
	p.logs("phase=interrupt")
}

func TestSignal_SIGQUITStaysGosAndShowsAllStacks(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return unresponsiveProgram(time.Minute) })
	p.says("working")
	p.signal(syscall.SIGQUIT)
	p.exits(2)
	p.logs("SIGQUIT: quit")
	p.logs("goroutine ")
}
