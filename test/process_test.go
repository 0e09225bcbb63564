package test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a process that a test has started, with everything that it prints.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended

	mu    sync.Mutex
	log   strings.Builder
	grown chan struct{} // closed and replaced when there is more log
}

// begin starts a process, which ends with the test.
func begin(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{}), grown: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.add(lines.Text())
		}
		_ = r.Close()    // it is at its end already
		_ = p.cmd.Wait() // ProcessState has the outcome
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has usually ended
		<-p.done
		if t.Failed() {
			t.Logf("process %d:\n%s", p.pid(), p.text())
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.WriteString(line + "\n")
	close(p.grown)
	p.grown = make(chan struct{})
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// lines returns the lines printed so far that contain a text.
func (p *process) lines(text string) []string {
	var found []string
	for line := range strings.Lines(p.text()) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// waitLog waits until the process has printed a line that contains the text, and returns the line.
func (p *process) waitLog(text string) string {
	p.t.Helper()
	return p.waitLines(text, 1)[0]
}

// waitLines waits until the process has printed n lines that contain the text.
func (p *process) waitLines(text string, n int) []string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		grown := p.grown
		p.mu.Unlock()
		if found := p.lines(text); len(found) >= n {
			return found
		}
		select {
		case <-grown:
		case <-p.done:
			if found := p.lines(text); len(found) < n {
				p.t.Fatalf("process %d ended and has printed %q %d times instead of %d:\n%s", p.pid(), text, len(found), n, p.text())
			}
		case <-deadline:
			p.t.Fatalf("process %d has printed %q %d times instead of %d:\n%s", p.pid(), text, len(p.lines(text)), n, p.text())
		}
	}
}

// until polls until a condition is true.
func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	if !poll(ok) {
		p.t.Fatalf("not %s after %v:\n%s", what, patience, p.text())
	}
}

// poll calls ok again and again, and returns false if it was never true.
func poll(ok func() bool) bool {
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%v to %d: %v", sig, p.pid(), err)
	}
}

// exit waits for the process's end and returns its state.
func (p *process) exit() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("process %d did not end:\n%s", p.pid(), p.text())
	}
	return p.cmd.ProcessState
}

// exits waits for the process's end and checks its code.
func (p *process) exits(code int) {
	p.t.Helper()
	if got := p.exit().ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d:\n%s", got, code, p.text())
	}
}
