//go:build linux

package stop_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// freeze stops the program and waits until the kernel reports it as stopped.
func (p *process) freeze() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(patience); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			p.t.Fatal(err)
		}
		// pid (name) state ...
		if _, state, _ := bytes.Cut(stat, []byte(") ")); bytes.HasPrefix(state, []byte("T")) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the program does not stop on SIGSTOP: %s", stat)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestSignals_SentToAStoppedProcessArriveOnceEachAfterCONT(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		return waiter(10*time.Minute, func(context.Context) error { return nil })
	})
	p.says("working")
	p.freeze()
	p.signal(syscall.SIGTERM, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCONT)
	// Three signals were sent. Two arrive: a last call and an interrupt, but not the third signal,
	// which would force the end.
	p.exits(0)
	p.logs("second signal: interrupting now")
	p.reports("finished    go job")
}

func TestSignals_TwoTermsSentToAStoppedPlainGoProgramBecomeOne(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		c := make(chan os.Signal, 8)
		signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCONT, syscall.SIGUSR1)
		say("working")
		for s := range c {
			if s == syscall.SIGUSR1 {
				return 0
			}
			say("got %v", s)
		}
		return 1
	})
	p.says("working")
	p.freeze()
	p.signal(syscall.SIGTERM, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCONT)
	p.says("got terminated")
	p.says("got interrupt")
	p.says("got continued")
	p.signal(syscall.SIGUSR1)
	p.exits(0)
	if n := strings.Count(p.out.String(), "got terminated"); n != 1 {
		t.Errorf("SIGTERM arrived %d times, want once: the kernel keeps one of a kind", n)
	}
}

// frozen is a program whose deadline passes while its process is stopped. It obeys its context,
// unless it is unresponsive.
func frozenProgram(unresponsive bool) int {
	cfg := config(4 * time.Second)
	cfg.Reserve = 3 * time.Second
	cfg.OnThaw = func(frozen time.Duration) { say("thawed after %d ms", frozen.Milliseconds()) }
	return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
		return g.Go("job", func(ctx context.Context) error {
			say("working")
			if unresponsive {
				select {}
			}
			<-ctx.Done()
			left, _ := lastcall.TimeLeft(ctx)
			say("left for the last write: %d ms", left.Milliseconds())
			return nil
		})
	})
}

// frozenFor stops the program in the middle of its drain for d, and lets it continue.
func (p *process) frozenFor(d time.Duration) {
	p.t.Helper()
	p.says("working")
	p.signal(syscall.SIGTERM)
	p.logs("phase=drain")
	p.freeze()
	time.Sleep(d) // the freeze itself
	p.signal(syscall.SIGCONT)
}

func TestFreeze_OverTheDeadlineAbandonsNobodyWhoObeys(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return frozenProgram(false) })
	began := time.Now()
	p.frozenFor(5 * time.Second)
	var left, thawed int
	scan(t, p.says("left for the last write"), "left for the last write: %d ms", &left)
	scan(t, p.says("thawed after"), "thawed after %d ms", &thawed)
	most := time.Since(began)
	p.exits(0)
	p.reports("the process was frozen for about", "finished    go job", "0 abandoned")
	p.logs("the process was frozen")
	if left <= 0 || left > 1500 { // a slow machine may have used some of it
		t.Errorf("after the thaw %d ms were left for the last write, want about half the reserve of 3 s", left)
	}
	if thawed < 4500 || int64(thawed) > most.Milliseconds() {
		t.Errorf("OnThaw received %d ms, want about 5000, and at most %d", thawed, most.Milliseconds())
	}
}

func TestFreeze_DoesNotSaveWhoIsUnresponsive(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return frozenProgram(true) })
	p.frozenFor(1500 * time.Millisecond)
	p.exits(3)
	p.reports("abandoned   go job", "frozen for about")
}

func TestFreeze_BeforeAnyStopIsHeardAndAPanickingHookStopsNobody(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		cfg := config(time.Minute)
		cfg.OnThaw = func(frozen time.Duration) {
			say("thawed after %d ms", frozen.Milliseconds())
			panic("in the hook")
		}
		return drainer(cfg)
	})
	p.says("working")
	began := time.Now()
	p.freeze()
	time.Sleep(2 * time.Second) // the freeze itself
	p.signal(syscall.SIGCONT)
	var thawed int
	scan(t, p.says("thawed after"), "thawed after %d ms", &thawed)
	most := time.Since(began) + time.Second
	// The resolution is one second while nothing stops.
	if thawed < 900 || int64(thawed) > most.Milliseconds() {
		t.Errorf("OnThaw received %d ms, want about 2000, less at most 1000, and at most %d", thawed, most.Milliseconds())
	}
	p.logs("panic: in the hook")
	p.signal(syscall.SIGTERM)
	p.says("heard the last call")
	p.tell("finish")
	p.exits(0)
}
