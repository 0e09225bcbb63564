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

	mu      sync.Mutex
	printed []string      // the lines
	grown   chan struct{} // closed and replaced when there are more
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
	p.printed = append(p.printed, line)
	close(p.grown)
	p.grown = make(chan struct{})
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, line := range p.printed {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// lines returns the lines printed so far that contain a text.
func (p *process) lines(text string) []string {
	found, _, _ := p.linesFrom(0, text)
	return found
}

// linesFrom returns the lines from a number on that contain a text, how many lines there are, and a
// channel that is closed when there are more.
func (p *process) linesFrom(from int, text string) (found []string, n int, grown <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.printed[from:] {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found, len(p.printed), p.grown
}

// waitLog waits until the process has printed a line that contains the text, and returns the line.
func (p *process) waitLog(text string) string {
	p.t.Helper()
	return p.waitLines(text, 1)[0]
}

// waitLines waits until the process has printed n lines that contain the text.
func (p *process) waitLines(text string, n int) (found []string) {
	p.t.Helper()
	deadline := time.After(patience)
	seen, ended := 0, false
	for {
		more, now, grown := p.linesFrom(seen, text)
		found, seen = append(found, more...), now
		if len(found) >= n {
			return found
		}
		if ended {
			p.t.Fatalf("process %d ended and has printed %q %d times instead of %d:\n%s", p.pid(), text, len(found), n, p.text())
		}
		select {
		case <-grown:
		case <-p.done:
			ended = true
		case <-deadline:
			p.t.Fatalf("process %d has printed %q %d times instead of %d:\n%s", p.pid(), text, len(found), n, p.text())
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

// poll calls ok again and again, and returns false if it was never true. The pauses grow with the
// time that has passed, so that a long wait leaves the processors to what it waits for.
func poll(ok func() bool) bool {
	for began := time.Now(); !ok(); {
		passed := time.Since(began)
		if passed > patience {
			return false
		}
		<-time.After(min(max(passed/20, 5*time.Millisecond), 50*time.Millisecond))
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
