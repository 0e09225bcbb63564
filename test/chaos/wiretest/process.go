package wiretest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// Process is a process of the driver.
type Process struct {
	h   *Harness
	cmd *exec.Cmd
	in  io.Closer
	// out is what the process has written to standard output, and log everything it has written.
	out, log output
}

// Start starts the driver under a name, with a command and additional environment variables. The
// process is killed at the end of the test if it is still running.
func (h *Harness) Start(name, command string, env ...string) *Process {
	h.t.Helper()
	p := &Process{h: h, cmd: exec.CommandContext(h.t.Context(), os.Args[0], command)}
	p.cmd.Env = append(os.Environ(), driverVariable+"=1", wire.EnvSocket+"="+h.socket, wire.EnvName+"="+name, wire.EnvStore+"="+h.Store,
		wire.EnvLease+"=2s", wire.EnvGrace+"=5s")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(&p.out, &p.log), &p.log
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()         // and been waited for
		if h.t.Failed() {
			h.t.Logf("%s:\n%s", name, p.log.String())
		}
	})
	return p
}

// StartReady starts the driver, and waits until it is ready.
func (h *Harness) StartReady(name, command string, env ...string) *Process {
	h.t.Helper()
	p := h.Start(name, command, env...)
	h.await(name+" to be ready", func() bool { return h.ready[name] })
	return p
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output returns what the process has written to standard output.
func (p *Process) Output() string { return p.out.String() }

// Log returns what the process has written to standard output and standard error.
func (p *Process) Log() string { return p.log.String() }

// AwaitLog waits until the process has written a text.
func (p *Process) AwaitLog(text string) {
	p.h.t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(p.Log(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.h.t.Fatalf("the process has not written %q:\n%s", text, p.Log())
		}
	}
}

// CloseInput ends the standard input of the process.
func (p *Process) CloseInput() {
	p.h.t.Helper()
	if err := p.in.Close(); err != nil {
		p.h.t.Error(err)
	}
}

// End sends a signal, if it is not 0, waits for the end, and checks the exit code. -1 means death
// by a signal.
func (p *Process) End(sig syscall.Signal, code int) {
	p.h.t.Helper()
	if sig != 0 {
		if err := p.cmd.Process.Signal(sig); err != nil {
			p.h.t.Error(err)
		}
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.h.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.h.t.Errorf("%s ended with code %d, want %d:\n%s", p.cmd.Args[1], got, code, p.Log())
	}
}

// output collects what a process has written so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

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
