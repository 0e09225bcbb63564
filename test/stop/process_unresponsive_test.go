//go:build unix

package stop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
)

// The functions that identify stacks in a report.

//go:noinline
func importWithoutLooking() { select {} }

//go:noinline
func childOfTheImport() { select {} }

//go:noinline
func strangerOutsideTheGroup() { select {} }

//go:noinline
func renderObediently(ctx context.Context) { <-ctx.Done() }

// patientReserve leaves the dump of the stacks enough time on a busy machine.
func patientReserve() lastcall.Config {
	cfg := config(time.Minute)
	cfg.Reserve = 8 * time.Second
	return cfg
}

// interrupt sends the signals for an immediate interrupt.
func (p *process) interrupt() {
	p.t.Helper()
	p.signal(stopSignal)
	p.logs("phase=drain")
	p.signal(stopSignal)
}

func TestUnresponsive_AnUnresponsiveGoroutineIsNamedWithItsStackAndNobodyElsesIs(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return lastcall.Main(patientReserve(), func(_ context.Context, g *lastcall.Group) error {
			go strangerOutsideTheGroup()
			ready := make(chan struct{})
			errs := errors.Join(
				g.Go("import", func(context.Context) error {
					go childOfTheImport() // it inherits the labels, but does not belong to the group
					close(ready)
					importWithoutLooking()
					return nil
				}),
				g.Go("render", func(ctx context.Context) error { renderObediently(ctx); return nil }),
			)
			<-ready
			say("working")
			return errs
		})
	})
	p.says("working")
	p.interrupt()
	p.exits(3)
	p.reports("exit code 3", ", 0 interrupted, 1 abandoned",
		"abandoned   go import", "/process_unresponsive_test.go:", "importWithoutLooking", "finished    go render")
	for _, stranger := range []string{"childOfTheImport", "strangerOutsideTheGroup", "renderObediently"} {
		if strings.Contains(p.report(), stranger) {
			t.Errorf("the report shows the stack of %s:\n%s", stranger, p.report())
		}
	}
	p.logs("msg=abandoned kind=go name=import")
}

func TestUnresponsive_OfManyUnresponsiveGoroutinesOfOneNameTheReportCounts(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return lastcall.Main(patientReserve(), func(_ context.Context, g *lastcall.Group) error {
			for range 100 {
				if err := g.Go("import", func(context.Context) error { importWithoutLooking(); return nil }); err != nil {
					return err
				}
			}
			say("working")
			return nil
		})
	})
	p.says("working")
	p.interrupt()
	p.exits(3)
	p.reports("abandoned   go import x100", "importWithoutLooking")
}

func TestUnresponsive_AStopEndsWithinTheGraceWhateverIsUnresponsive(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		cfg := config(8 * time.Second)
		cfg.Reserve = 7 * time.Second // a twentieth of the closers' 3.4 s is kept for each
		return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
			forever := func(context.Context) error { select {} }
			for range 3 {
				g.Defer("unresponsive closer", forever)
			}
			return errors.Join(
				g.Go("unresponsive", forever), g.Loop("unresponsive loop", forever),
				g.Background(context.Background(), "unresponsive background", forever),
				g.Go("ready", func(context.Context) error { say("working"); return nil }))
		})
	})
	p.says("working")
	watch := stopwatch.Start(t)
	p.signal(stopSignal)
	p.exits(3)
	if took := watch.AtMost(9*time.Second, "the stop"); took < 4*time.Second {
		t.Errorf("the stop took %v, want the grace of 8 s", took)
	}
	p.reports("abandoned   go unresponsive,", "abandoned   loop unresponsive loop",
		"abandoned   background unresponsive background",
		"abandoned   closer unresponsive closer")
	if n := strings.Count(p.report(), "abandoned   closer unresponsive closer"); n != 3 {
		t.Errorf("%d of 3 unresponsive closers were given their turn:\n%s", n, p.report())
	}
}

func TestCloser_HangIsNamedAndTheOthersRun(t *testing.T) {
	t.Parallel()
	// A second is kept for each of the last two, a third of it for the stack of the one that hangs.
	p := start(t, func() int {
		return lastcall.Main(config(20*time.Second), func(_ context.Context, g *lastcall.Group) error {
			g.Defer("first", lastcall.CloseFunc(func() error { say("closed first"); return nil }))
			g.Defer("hangs", func(context.Context) error { importWithoutLooking(); return nil })
			g.Defer("obeys", func(ctx context.Context) error {
				<-ctx.Done()
				return fmt.Errorf("the broker did not answer: %w", ctx.Err())
			})
			g.Defer("last", lastcall.CloseFunc(func() error { say("closed last"); return nil }))
			g.Stop(nil)
			return nil
		})
	})
	p.exits(3)
	if got, want := p.out.String(), "closed last\nclosed first\n"; got != want {
		t.Errorf("the closers printed %q, want %q", got, want)
	}
	p.reports("abandoned   closer hangs", "importWithoutLooking", "failed      closer obeys: the broker did not answer")
	if strings.Contains(p.report(), "abandoned   closer obeys") {
		t.Errorf("a closer that obeyed its context was abandoned:\n%s", p.report())
	}
}

// withFullStderr gives the program a stderr that nobody reads and that accepts no more.
func withFullStderr(t *testing.T) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		block := make([]byte, 4096)
		_ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for err == nil {
			_, err = w.Write(block)
			if err != nil && len(block) > 1 {
				err, block = w.SetWriteDeadline(time.Now().Add(100*time.Millisecond)), block[:1]
			}
		}
		cmd.Stderr = w
	}
}

func TestLogger_ThatBlocksHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		work func(context.Context) error
		code int
	}{
		"clean":        {func(ctx context.Context) error { <-lastcall.LastCall(ctx); return nil }, 0},
		"unresponsive": {func(context.Context) error { select {} }, 3},
		"failure":      {func(context.Context) error { return errors.New("disk full") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, func() int {
				return lastcall.Main(config(3*time.Second), func(_ context.Context, g *lastcall.Group) error {
					defer say("working")
					return g.Go("job", tc.work)
				})
			}, withFullStderr(t))
			p.says("working")
			if tc.code != 1 { // a failure begins the stop by itself
				p.signal(stopSignal)
			}
			p.exits(tc.code)
			p.reports(fmt.Sprintf("exit code %d", tc.code))
		})
	}
}

// hangingError is an error whose Error method never returns.
type hangingError struct{}

func (hangingError) Error() string { select {} }

func TestWatchdog_EndsAStopThatHangsInItself(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return lastcall.Main(config(3*time.Second), func(_ context.Context, g *lastcall.Group) error {
			g.Stop(hangingError{})
			return nil
		})
	})
	p.exits(3)
}

func TestTerminationLog_ThatIsNotAFileHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	program := func() int {
		return lastcall.Main(config(time.Minute), func(context.Context, *lastcall.Group) error { return nil })
	}
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := makeFIFO(fifo); err != nil {
		t.Fatal(err)
	}
	p := start(t, program, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, logVariable+"="+fifo) })
	p.exits(0)
}
