package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// driverVariable makes this test binary the service.
const driverVariable = "CHAOS_TEST_DRIVER"

func TestMain(m *testing.M) {
	if os.Getenv(driverVariable) != "" {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(pgtest.Main(m))
}

// onBothStores runs a test on a SQLite file and on a PostgreSQL database, with the schema in it.
func onBothStores(t *testing.T, test func(h *harness)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(newHarness(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(newHarness(t, pgtest.DSN(t)))
	})
}

// harness is a tiny chaos harness: it records effects, gives verdicts, and asks its client.
type harness struct {
	*testing.T
	store  string // the address
	socket string

	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each change
	effects []history.Effect
	fences  map[int]int64
	ready   map[string]bool
	conns   map[string]net.Conn
	left    []string
	calls   int64
	client  *json.Encoder
	answers chan history.Answer
}

func newHarness(t *testing.T, store string) *harness {
	t.Helper()
	h := &harness{T: t, store: store, socket: filepath.Join(t.TempDir(), "s"), changed: make(chan struct{}), fences: make(map[int]int64),
		ready: make(map[string]bool), conns: make(map[string]net.Conn), answers: make(chan history.Answer, 1)}
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	var routines sync.WaitGroup
	t.Cleanup(func() { l.Close(); routines.Wait() })
	routines.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			routines.Go(func() { h.serve(conn) })
		}
	})
	if err := setUp(settings{store: store, log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return h
}

// serve reads what a process sends until its connection ends.
func (h *harness) serve(conn net.Conn) {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	var name string
	for {
		var m wire.Message
		if err := in.Decode(&m); err != nil {
			return
		}
		h.mu.Lock()
		switch {
		case m.Hello != nil:
			name = m.Hello.Name
			h.conns[name] = conn
			if m.Hello.Role == "client" {
				h.client = out
			}
		case m.Ready:
			h.ready[name] = true
		case m.Effect != nil:
			e := *m.Effect
			e.Stale = e.Fence < h.fences[e.Seq]
			h.fences[e.Seq] = max(h.fences[e.Seq], e.Fence)
			h.effects = append(h.effects, e)
			out.Encode(wire.Reply{Verdict: &wire.Verdict{N: m.N, Stale: e.Stale}})
		case m.Answer != nil:
			h.answers <- *m.Answer
		case m.Left != "":
			h.left = append(h.left, m.Left)
		}
		close(h.changed)
		h.changed = make(chan struct{})
		h.mu.Unlock()
	}
}

// await waits until the harness, which is locked meanwhile, has what is wanted.
func (h *harness) await(what string, has func() bool) {
	h.Helper()
	timeout := time.After(30 * time.Second)
	for {
		h.mu.Lock()
		ok, changed := has(), h.changed
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			h.mu.Lock()
			defer h.mu.Unlock()
			h.Fatalf("waiting for %s, with the effects %+v", what, h.effects)
		}
	}
}

// of returns the accepted effects of a task.
func (h *harness) of(seq int) (effects []history.Effect) {
	for _, e := range h.effects {
		if e.Seq == seq && !e.Stale {
			effects = append(effects, e)
		}
	}
	return effects
}

// awaitStep waits until a task has had so many effects of a step.
func (h *harness) awaitStep(seq, step, times int) {
	h.Helper()
	h.await("a step", func() bool {
		n := 0
		for _, e := range h.of(seq) {
			if e.Step == step {
				n++
			}
		}
		return n >= times
	})
}

// ask has the client do something.
func (h *harness) ask(c history.Call) history.Answer {
	h.Helper()
	h.mu.Lock()
	h.calls++
	c.ID = h.calls
	err := h.client.Encode(wire.Reply{Call: &c})
	h.mu.Unlock()
	if err != nil {
		h.Fatal(err)
	}
	select {
	case a := <-h.answers:
		if a.Call != c.ID {
			h.Fatalf("an answer to call %d, want %d", a.Call, c.ID)
		}
		return a
	case <-time.After(30 * time.Second):
		h.Fatalf("no answer to %+v", c)
		panic("unreachable")
	}
}

// process is a process of the service.
type process struct {
	*exec.Cmd
	h   *harness
	in  io.Closer
	log *output
}

// start starts a process of the service under a name, with a command and more of an environment.
func (h *harness) start(name, command string, env ...string) *process {
	h.Helper()
	p := &process{Cmd: exec.CommandContext(h.Context(), os.Args[0], command), h: h, log: new(output)}
	p.Env = append(os.Environ(), driverVariable+"=1", wire.EnvSocket+"="+h.socket, wire.EnvName+"="+name, wire.EnvStore+"="+h.store,
		wire.EnvLease+"=2s", wire.EnvGrace+"=5s", "GORACE=exitcode=66")
	p.Env = append(p.Env, env...)
	p.Stdout, p.Stderr = p.log, p.log
	var err error
	if p.in, err = p.StdinPipe(); err != nil {
		h.Fatal(err)
	}
	if err := p.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		if h.Failed() {
			h.Logf("%s:\n%s", name, p.log)
		}
	})
	return p
}

// startReady starts a process, and waits until it is ready.
func (h *harness) startReady(name, command string, env ...string) *process {
	h.Helper()
	p := h.start(name, command, env...)
	h.await(name+" to be ready", func() bool { return h.ready[name] })
	return p
}

// end sends a signal, if it is one, and waits for the exit code; -1 is that of a signal.
func (p *process) end(sig syscall.Signal, code int) {
	p.h.Helper()
	if sig != 0 {
		if err := p.Process.Signal(sig); err != nil {
			p.h.Error(err)
		}
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		p.h.Fatal(err)
	}
	if got := p.ProcessState.ExitCode(); got != code {
		p.h.Errorf("%s ended with code %d, want %d:\n%s", p.Args[1], got, code, p.log)
	}
}

// awaitLog waits until the process has written something.
func (p *process) awaitLog(text string) {
	p.h.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.log.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.h.Fatalf("the process has not said %q:\n%s", text, p.log)
		}
	}
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// inspect returns what the store has, by the number of the task.
func (h *harness) inspect() (history.State, map[int]history.Task) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 30*time.Second)
	defer cancel()
	state, err := readState(ctx, h.store)
	if err != nil {
		h.Fatal(err)
	}
	tasks := make(map[int]history.Task)
	for _, t := range state.Tasks {
		tasks[t.Seq] = t
	}
	return state, tasks
}
