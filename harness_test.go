package lastcall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this package control time with testing/synctest: inside a bubble
// a sleep ends when all goroutines wait, so moments can be compared exactly.

var errBroken = errors.New("the disk is full")

// bubble runs a test in a synctest bubble, without the environment variables of a
// platform.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	plainEnvironment(t)
	synctest.Test(t, test)
}

func plainEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{kubernetesHost, graceVariable, "NOTIFY_SOCKET"} {
		t.Setenv(name, "")
	}
}

// written is a log that a test can read.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// lines returns the lines that contain all of the texts.
func (w *written) lines(texts ...string) []string {
	var found []string
	for line := range strings.Lines(w.String()) {
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(line, s) }) {
			found = append(found, line)
		}
	}
	return found
}

func (w *written) logger() *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// testConfig has a grace of 20 s: Interrupt comes 18 s after last call, Abandon
// at 19 s, the last closer ends at 19.9 s and everything is over at 20 s.
func testConfig() (Config, *written) {
	log := &written{}
	return Config{Grace: 20 * time.Second, Logger: log.logger(), TerminationLog: "-"}, log
}

const (
	atInterrupt = 18 * time.Second
	atAbandon   = 19 * time.Second
	atClosed    = 19900 * time.Millisecond
	atExit      = 20 * time.Second
)

// newTestGroup returns a group with testConfig.
func newTestGroup(t *testing.T) (*Group, *written) {
	t.Helper()
	cfg, log := testConfig()
	return mustNew(t.Context(), t, cfg), log
}

func mustNew(ctx context.Context, t *testing.T, cfg Config) *Group {
	t.Helper()
	g, err := New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustStart(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("refused to start: %v", err)
	}
}

// wantReport compares the parts of a report that say how the work ended.
func wantReport(t *testing.T, r Report, code int, finished, interrupted, abandoned string) {
	t.Helper()
	if got := r.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	for _, part := range []struct {
		name    string
		entries []Entry
		want    string
	}{{"finished", r.Finished, finished}, {"interrupted", r.Interrupted, interrupted}, {"abandoned", r.Abandoned, abandoned}} {
		if got := names(part.entries); got != part.want {
			t.Errorf("%s: %q, want %q", part.name, got, part.want)
		}
	}
	if t.Failed() {
		t.Logf("the report:\n%s", r)
	}
}

// names writes entries as "go a, loop b x3", in the order of their names.
func names(entries []Entry) string {
	var out []string
	for _, e := range entries {
		s := string(e.Kind) + " " + e.Name
		if e.Count != 1 {
			s += fmt.Sprintf(" x%d", e.Count)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// wantTook compares how long something took, in a bubble. A test that knows the exact time
// uses a slack of 0.
func wantTook(t *testing.T, what string, got, want, slack time.Duration) {
	t.Helper()
	if got < want || got > want+slack {
		t.Errorf("%s took %v, want %v to %v", what, got, want, want+slack)
	}
}

// obedient works until its context ends, and returns the cause.
func obedient(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// takes returns work that takes the given time, even if its context ends earlier.
func takes(d time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return nil }
}

// unresponsive returns work that ignores its context until the test ends it.
func unresponsive(until <-chan struct{}) func(context.Context) error {
	return func(context.Context) error { <-until; return nil }
}

// program is Main in a bubble.
type program struct {
	signals chan os.Signal
	forced  chan int // the codes with which the exit hook was called
	code    chan int
	group   *Group // set when setup has returned
}

// runMain starts Main, and returns when setup has returned or waits for something.
func runMain(cfg Config, setup func(context.Context, *Group) error) *program {
	p := &program{signals: make(chan os.Signal, 8), forced: make(chan int, 8), code: make(chan int, 1)}
	cfg.Signals = p.signals
	cfg.exit = func(code int) { p.forced <- code }
	go func() {
		p.code <- Main(cfg, func(ctx context.Context, g *Group) error {
			p.group = g
			if setup == nil {
				return g.Loop("service", obedient)
			}
			return setup(ctx, g)
		})
	}()
	synctest.Wait()
	return p
}

// signal sends a signal and waits until everything that follows at once has happened.
func (p *program) signal(s syscall.Signal) {
	p.signals <- s
	synctest.Wait()
}

// goroutinesWith returns the stacks of all goroutines that contain a text.
func goroutinesWith(text string) []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, text) {
			found = append(found, stack)
		}
	}
	return found
}
