//go:build unix

package stop_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// The tests in process_*_test.go work with real processes. A test contains its program next to its
// assertions. start runs this test binary again, as a process that executes the same test up to
// start, where it runs the program and exits with its code. Programs and tests synchronize over
// stdin, stdout and the log on stderr, so no sleep is needed for correctness.

const logVariable = "LASTCALL_TEST_TERMINATION_LOG"

// process is a running program of a test.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   *os.File
	out     transcript // stdout
	log     transcript // stderr
	logFile string     // the termination log
	ended   chan struct{}
	began   time.Time
}

// directory is a directory for the files of a test. In the test's program, whose exit would leave
// it behind, it is empty.
func directory(t *testing.T) string {
	t.Helper()
	if os.Getenv(programVariable) != "" {
		return ""
	}
	return t.TempDir()
}

// start runs main in a process of its own. The settings change the command before it starts.
func start(t *testing.T, main func() int, settings ...func(*exec.Cmd)) *process {
	t.Helper()
	if os.Getenv(programVariable) == t.Name() {
		os.Exit(main())
	}
	defaultSignals()
	p := &process{t: t, ended: make(chan struct{}), logFile: filepath.Join(t.TempDir(), "termination-log")}
	if err := os.WriteFile(p.logFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = write
	cmd := exec.Command(os.Args[0], "-test.run="+pattern(t.Name()))
	p.cmd = cmd
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &p.out, &p.log
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), programVariable+"="+t.Name(), logVariable+"="+p.logFile,
		// Otherwise the race detector sleeps for a second at exit.
		"GORACE=atexit_sleep_ms=0")
	for _, set := range settings {
		set(cmd)
	}
	p.began = time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the program: %v", err)
	}
	stdin.Close()
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(p.end)
	return p
}

// pattern makes -test.run match one test, or one of its subtests.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + part + "$"
	}
	return strings.Join(parts, "/")
}

// defaultSignals lets programs start with the default dispositions even when the tests run under
// nohup or in the background. Signals that this process catches are reset in its children; signals
// that it ignores are not.
var defaultSignals = sync.OnceFunc(func() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
})

// end kills the program if it is still running at the end of the test, with its process group if it
// has one.
func (p *process) end() {
	p.stdin.Close()
	if a := p.cmd.SysProcAttr; a != nil && (a.Setpgid || a.Setsid) {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	if p.t.Failed() {
		p.t.Logf("stdout:\n%sstderr:\n%s", p.out.String(), p.log.String())
	}
}

// signal sends signals to the program.
func (p *process) signal(signals ...syscall.Signal) {
	p.t.Helper()
	for _, s := range signals {
		if err := p.cmd.Process.Signal(s); err != nil {
			p.t.Fatalf("send %v: %v", s, err)
		}
	}
}

// tell writes a line to the program's stdin.
func (p *process) tell(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, line); err != nil {
		p.t.Fatalf("write to the program: %v", err)
	}
}

// says waits for a line on stdout that contains text, and returns it.
func (p *process) says(text string) string {
	p.t.Helper()
	return p.await(&p.out, "say", text)
}

// logs waits for a line of the log that contains text, and returns it.
func (p *process) logs(text string) string {
	p.t.Helper()
	return p.await(&p.log, "log", text)
}

func (p *process) await(from *transcript, verb, text string) string {
	p.t.Helper()
	line := from.await(text, p.ended)
	if line == "" {
		p.t.Fatalf("the program did not %s %q", verb, text)
	}
	return line
}

// exits waits for the end of the program and checks its exit code, which is 128+n after death by
// signal n.
func (p *process) exits(code int) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("the program does not end")
	}
	if got := p.code(); got != code {
		p.t.Errorf("exit code %d, want %d", got, code)
	}
}

func (p *process) code() int {
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// report returns the termination log of the ended program.
func (p *process) report() string {
	p.t.Helper()
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// reports checks that the report contains each text.
func (p *process) reports(texts ...string) {
	p.t.Helper()
	report := p.report()
	for _, text := range texts {
		if !strings.Contains(report, text) {
			p.t.Errorf("the report does not contain %q:\n%s", text, report)
		}
	}
}

// scan parses a number from a line.
func scan(t *testing.T, line, format string, into *int) {
	t.Helper()
	if _, err := fmt.Sscanf(line, format, into); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
}

// The functions that follow are for the programs.

// config is the configuration that programs start from: the log on stderr, and the report where the
// test looks for it.
func config(grace time.Duration) lastcall.Config {
	return lastcall.Config{
		Grace:          grace,
		Logger:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
		TerminationLog: os.Getenv(logVariable),
	}
}

// say writes a line to stdout, for process.says.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

var stdinLines = sync.OnceValue(func() *bufio.Scanner { return bufio.NewScanner(os.Stdin) })

// hear waits for the next line of process.tell.
func hear() error {
	if !stdinLines().Scan() {
		return errors.New("the test has closed stdin")
	}
	return nil
}

const stopSignal = syscall.SIGTERM

func makeFIFO(path string) error { return syscall.Mkfifo(path, 0o600) }

// plainNotify does what a program without Lastcall does.
func plainNotify() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}
