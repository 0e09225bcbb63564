//go:build linux

package story_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program builds one of the five.
func program(t *testing.T, folder string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), folder)
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "./"+folder).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// process is a running program whose output is read line by line.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	seen  []string
	err   bytes.Buffer
}

func start(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...)}
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A program that hangs is killed, which ends its output and the test.
	timer := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); _ = p.cmd.Process.Kill() })
	p.lines = bufio.NewScanner(out)
	return p
}

// until reads lines up to the one that begins like this.
func (p *process) until(prefix string) {
	p.t.Helper()
	for p.lines.Scan() {
		p.seen = append(p.seen, p.lines.Text())
		if strings.HasPrefix(p.lines.Text(), prefix) {
			return
		}
	}
	p.t.Fatalf("the output ended before a line %q:\n%s\n%s", prefix, strings.Join(p.seen, "\n"), p.err.String())
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end reads the rest and returns how the process ended: "exit status 1",
// "signal: killed", or "" for 0.
func (p *process) end() string {
	p.t.Helper()
	for p.lines.Scan() {
		p.seen = append(p.seen, p.lines.Text())
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &exit):
		return exit.String()
	}
	p.t.Fatal(err)
	return ""
}

func (p *process) printed(want ...string) {
	p.t.Helper()
	if !slices.Equal(p.seen, want) {
		p.t.Errorf("printed\n  %s\nwant\n  %s\n%s", strings.Join(p.seen, "\n  "), strings.Join(want, "\n  "), p.err.String())
	}
}

func TestStory_WithoutWaitingTheGoroutinesAreLost(t *testing.T) {
	p := start(t, program(t, "1-lost"))
	if how := p.end(); how != "" {
		t.Errorf("ended with %s", how)
	}
	p.printed("main returns")
}

func TestStory_AWaitGroupWaits(t *testing.T) {
	p := start(t, program(t, "2-wait"))
	if how := p.end(); how != "" {
		t.Errorf("ended with %s", how)
	}
	slices.Sort(p.seen)
	p.printed("image 0 is drawn", "image 1 is drawn", "image 2 is drawn", "main returns", "main waits")
}

func TestStory_AWaitGroupDoesNotHearCtrlC(t *testing.T) {
	p := start(t, program(t, "2-wait"))
	p.until("main waits")
	p.signal(syscall.SIGINT)
	if how := p.end(); how != "signal: interrupt" {
		t.Errorf("ended with %q", how)
	}
	if slices.Contains(p.seen, "main returns") {
		t.Error("main returned, although the process was interrupted")
	}
}

func TestStory_SignalsAreHeardOnAChannel(t *testing.T) {
	p := start(t, program(t, "3-signals"))
	p.until("listening")
	p.signal(syscall.SIGINT)
	p.until("INT")
	p.signal(syscall.SIGSTOP)
	stopped(t, p.cmd.Process.Pid)
	p.signal(syscall.SIGTERM) // waits until the process runs again
	p.signal(syscall.SIGCONT)
	if how := p.end(); how != "" {
		t.Errorf("ended with %s", how)
	}
	slices.Sort(p.seen[2:]) // TERM and CONT are delivered in either order
	want := []string{fmt.Sprint("listening, pid ", p.cmd.Process.Pid), "INT: Ctrl-C; I go on, since I can", "TERM: the platform wants me to end, so I end"}
	if len(p.seen) == 4 {
		want = slices.Insert(want, 2, "CONT: somebody had stopped me, and I was not told when")
	}
	p.printed(want...)
}

func TestStory_KillIsNotHeard(t *testing.T) {
	p := start(t, program(t, "3-signals"))
	p.until("listening")
	p.signal(syscall.SIGKILL)
	if how := p.end(); how != "signal: killed" {
		t.Errorf("ended with %q", how)
	}
	if len(p.seen) != 1 {
		t.Errorf("the program had something to say: %q", p.seen)
	}
}

// stopped waits until the kernel reports a process as stopped.
func stopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "T") {
			return
		}
	}
	t.Fatal("the process has not stopped")
}

func TestStory_ASignalMakesTheTaskInHandInterrupted(t *testing.T) {
	p := start(t, program(t, "4-interrupted"))
	p.until("sun line 2")
	p.signal(syscall.SIGTERM)
	if how := p.end(); how != "" {
		t.Errorf("ended with %s: %s", how, p.err.String())
	}
	tasks := p.seen[len(p.seen)-3:]
	if tasks[0] != `{"Name":"star"} is queued, checkpoint ""` || tasks[2] != `{"Name":"moon"} is succeeded, checkpoint ""` ||
		!strings.HasPrefix(tasks[1], `{"Name":"sun"} is interrupted, checkpoint "`) {
		t.Errorf("the tasks at the end:\n%s", strings.Join(tasks, "\n"))
	}
}

func TestStory_TheNextProcessPicksTheTaskUp(t *testing.T) {
	binary, file := program(t, "5-picked-up"), filepath.Join(t.TempDir(), "tasks.db")

	first := start(t, binary, file)
	first.until("moon line 3")
	first.signal(syscall.SIGTERM)
	if how := first.end(); how != "" {
		t.Errorf("the first process ended with %s: %s", how, first.err.String())
	}

	second := start(t, binary, file)
	second.until("moon line 6")
	second.signal(syscall.SIGKILL)
	if how := second.end(); how != "signal: killed" {
		t.Errorf("the second process ended with %q", how)
	}

	third := start(t, binary, file)
	third.until("moon is drawn")
	third.signal(syscall.SIGTERM)
	if how := third.end(); how != "" {
		t.Errorf("the third process ended with %s: %s", how, third.err.String())
	}

	if !strings.HasPrefix(second.seen[0], "moon goes on at line ") || !strings.HasPrefix(third.seen[0], "moon goes on at line ") {
		t.Errorf("the later processes began with %q and %q", second.seen[0], third.seen[0])
	}
	// After SIGTERM no line is drawn twice. After SIGKILL the current one may be.
	drawn := map[string]int{}
	for _, l := range slices.Concat(first.seen, second.seen, third.seen) {
		drawn[l]++
	}
	twice := 0
	for line := range 10 {
		n := drawn[fmt.Sprint("moon line ", line)]
		if n == 0 {
			t.Errorf("line %d was never drawn", line)
		}
		twice += n - 1
	}
	if twice > 1 {
		t.Errorf("%d lines were drawn twice", twice)
	}
}
