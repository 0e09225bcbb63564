package rehearse

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// server and probedServer are the programs of testdata.
var server, probedServer string

func TestMain(m *testing.M) {
	// Rehearsals mostly wait, so more of them run at once than there are processors.
	_ = flag.Set("test.parallel", "4")
	os.Exit(func() int {
		if len(os.Args) > 4 && os.Args[1] == generateCommand {
			if err := generate(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
		if len(os.Args) > 1 && os.Args[1] == "rehearse" { // for the test that kills a rehearsal
			_, err := Do(context.Background(), Config{Program: Container{Command: []string{os.Getenv(serverEnv), "hangs"}}, sharePIDs: len(os.Args) > 2, Watch: func(e Event) { fmt.Println(e.What) }})
			fmt.Println(err)
			return 0
		}
		if server = os.Getenv(serverEnv); server != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "rehearse")
		if err == nil {
			err = os.Chmod(dir, 0o755) // users other than root execute it too
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		server, probedServer = filepath.Join(dir, "server"), filepath.Join(dir, "probed")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir, "./testdata/server", "./testdata/probed")
		// They also run in an image, which has no libraries.
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// exitBySignal is the exit code of a Go program without a handler that is PID 1.
var exitBySignal = func() int {
	if version := runtime.Version(); strings.HasPrefix(version, "go1.26") {
		return 2
	}
	return 143
}()

// codes returns the codes of the findings that fail, and of the warnings.
func codes(r *Result) (fails, warns []Code) {
	for _, f := range r.Findings {
		if f.Fails {
			fails = append(fails, f.Code)
		} else {
			warns = append(warns, f.Code)
		}
	}
	return fails, warns
}

// without leaves out a code that is not wanted and that a machine with other things to do adds: a
// program that waits for a processor answers late.
func without(found, want []Code, code Code) []Code {
	return slices.DeleteFunc(found, func(c Code) bool { return c == code && !slices.Contains(want, code) })
}

// rehearse rehearses the one scenario of a configuration.
func rehearse(t *testing.T, c Config) (*Result, error) {
	t.Helper()
	report, err := Do(t.Context(), c)
	if err != nil {
		return nil, err
	}
	if len(report.Results) != 1 {
		t.Fatalf("%d results of one scenario", len(report.Results))
	}
	return &report.Results[0], nil
}

// hook is a program with a preStop hook, which is a shell command.
func hook(command string) Container {
	return Container{PreStop: &Hook{Exec: []string{"/bin/sh", "-c", command}}}
}

func describe(r *Result) string {
	var b strings.Builder
	for _, e := range r.Events {
		fmt.Fprintf(&b, "%6.2f %s: %s %s\n", e.At.Seconds(), e.What, e.Detail, e.Code)
	}
	fmt.Fprintf(&b, "%+v\nanswered %d, failed %d, %s\n%s", r.Findings, r.Answered, r.Failed, r.Isolation, strings.Join(r.Output, "\n"))
	return b.String()
}

// Each mistake is found, for that reason alone, and the program without it passes.
func TestRehearse_FindsEachMistakeAndNoOther(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		how          string
		config       Config
		fails, warns []Code
		exit         int
	}{
		{how: "good"},
		{how: "noisy"},
		{how: "good", config: Config{Program: hook("sleep 1")}},
		// The hook is the delay.
		{how: "at-once", config: Config{Program: hook("sleep 1.5")}, warns: []Code{ClosedUnderRequest}},
		// No client is routed there any more.
		{how: "at-once", config: Config{EndpointLag: -1}, warns: []Code{ClosedUnderRequest}},
		// It has two seconds in all.
		{how: "slowly", config: Config{Scenarios: []Scenario{HardEviction}, Grace: time.Hour}, warns: []Code{TooSlow}, exit: 137},
		{how: "at-once", fails: []Code{RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{how: "exits", fails: []Code{CutOff, RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{how: "no-handler", fails: []Code{CutOff, RefusedEarly, NoHandler}, warns: []Code{ClosedUnderRequest}, exit: exitBySignal},
		{how: "ignores", fails: []Code{NoReaction}, exit: -1},
		{how: "quits", config: Config{Program: Container{StopSignal: syscall.SIGQUIT}}},
		// The hook is in the namespace of the program, which ends meanwhile.
		{how: "quits", config: Config{Program: hook("kill -QUIT 1; sleep 3")}},
		{how: "hangs", config: Config{Grace: 3 * time.Second}, fails: []Code{TooSlow}, exit: 137},
		{how: "hangs", config: Config{CutShort: true, Grace: time.Minute}, warns: []Code{TooSlow}, exit: -1},
		{how: "hangs-up", fails: []Code{CutOff, RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{how: "errors", fails: []Code{NotAnswered}, warns: []Code{ClosedUnderRequest}},
		{how: "code", warns: []Code{ExitCode}, exit: 3},
		{how: "good", config: Config{Grace: 3 * time.Second}, warns: nil},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			c.config.Program.Command, c.config.Program.Env = []string{server, c.how}, []string{"ADDRESS=" + where}
			c.config.Traffic = []Target{{URL: "http://" + where + "/slow", Use: Slow}}
			if c.config.Grace == 0 {
				c.config.Grace = 20 * time.Second
			}
			r, err := rehearse(t, c.config)
			if err != nil {
				t.Fatal(err)
			}
			fails, warns := codes(r)
			warns = without(warns, c.warns, AnswersLate)
			slices.Sort(c.fails)
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) || r.ExitCode != c.exit || r.OK() != (len(c.fails) == 0) {
				t.Errorf("fails %v, want %v; warns %v, want %v; exit code %d, want %d\n%s", fails, c.fails, warns, c.warns, r.ExitCode, c.exit, describe(r))
			}
			if r.Answered < 20 { // a busy machine answers 46
				t.Errorf("%d requests were answered, which is hardly any\n%s", r.Answered, describe(r))
			}
			without := func(code Code) bool {
				needs := meanings[code].needs
				return needs != nil && !needs(&c.config) || meanings[code].client != ""
			}
			checks := slices.DeleteFunc(slices.Clone(r.Scenario.plan().checks), without)
			if len(r.Findings)+len(r.Passed) != len(checks) {
				t.Errorf("%d findings and %d checks that passed, of %d", len(r.Findings), len(r.Passed), len(checks))
			}
		})
	}
}

func TestRehearse_AProgramThatCannotBeRehearsedIsAnErrorThatSaysWhy(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "no program given"},
		{Config{Program: Container{Command: []string{"/no/such/program"}}}, "no such file"},
		{Config{Program: Container{Command: []string{server, "ends"}}}, "no database here"},
		{Config{Program: Container{Command: []string{server, "good"}}, Traffic: []Target{{URL: "http://127.0.0.1:1/"}}, Ready: time.Second}, "not ready after 1s"},
		{Config{Program: Container{Command: []string{server, "good"}}, Traffic: []Target{{URL: "http://203.0.113.1:80/"}}}, "not this machine's loopback"},
		{Config{Program: Container{Command: []string{server, "good"}}, Traffic: []Target{{URL: "ftp://127.0.0.1:80/"}}}, "no address like"},
		{Config{Program: Container{Command: []string{server, "good"}}, Rate: 1e6}, "at most"},
		{Config{Program: Container{Command: []string{server, "good"}}, Scenarios: []Scenario{"bored"}}, "no scenario"},
		{Config{Program: Container{Command: []string{server, "good"}}, Grace: -time.Second}, "negative"},
	} {
		c.config.Program.Env = []string{"ADDRESS=127.0.0.1:0"}
		r, err := Do(t.Context(), c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want an error with %q", c.config.Program.Command, r, err, c.want)
		}
	}
}

func TestRehearse_AProgramWithoutAPortIsRehearsedWithoutClients(t *testing.T) {
	t.Parallel()
	r, err := rehearse(t, Config{Program: Container{Command: []string{"sleep", "60"}}})
	if err != nil {
		t.Fatal(err)
	}
	if fails, _ := codes(r); !slices.Equal(fails, []Code{NoReaction}) || r.URL != "" || slices.Contains(r.Passed, CutOff) {
		t.Errorf("%s", describe(r))
	}
}

// A program that is busy for some seconds before it listens still gets clients.
func TestRehearse_AProgramThatTakesLongToListenHasClients(t *testing.T) {
	t.Parallel()
	r, err := rehearse(t, Config{
		Program: Container{
			Command: []string{"/bin/sh", "-c", `i=$(date +%s); while [ $(date +%s) -lt $((i+4)) ]; do :; done; exec "$0" good`, server},
			Env:     []string{"ADDRESS=" + freeport.Address(t)},
		},
		Scenarios: []Scenario{Lag0},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.URL == "" || len(r.Findings) != 0 {
		t.Error(describe(r))
	}
}

// Without a namespace the program leads a process group, and processes that have left the group are
// found too.
func TestRehearse_WithoutANamespaceNothingIsLeftBehindEither(t *testing.T) {
	t.Parallel()
	where := freeport.Address(t)
	r, err := rehearse(t, Config{
		Program: Container{Command: []string{"/bin/sh", "-c", `setsid "$0" good & exec sleep 60`, server}, Env: []string{"ADDRESS=" + where}},
		Traffic: []Target{{URL: "http://" + where}}, sharePIDs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	closedSoon(t, where)
	if fails, _ := codes(r); !slices.Equal(fails, []Code{NoHandler}) || r.ExitCode != 143 || r.Answered < 50 || !strings.Contains(r.Isolation, "not PID 1") {
		t.Errorf("want %s alone\n%s", NoHandler, describe(r))
	}
}

// closedSoon checks that nobody listens any more.
func closedSoon(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("the program still listens on %s", address)
		}
	}
}

// Both copies of a rollout are ended, and awaited.
func TestRehearse_ThatIsCancelledLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough, where := errors.New("enough"), freeport.Address(t)
	_, err := Do(ctx, Config{
		Program: Container{Command: []string{server, "hangs"}, Env: []string{"ADDRESS=" + where}}, Scenarios: []Scenario{Rollout},
		Watch: func(e Event) {
			if e.What == "stop signal" {
				cancel(enough)
			}
		},
	})
	if !errors.Is(err, enough) || err.Error() != enough.Error() {
		t.Errorf("%v, want the cause of the context alone", err)
	}
	closedSoon(t, where)
}

func TestRehearse_ThatIsKilledLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"rehearse"}, {"rehearse", "in a process group"}} {
		t.Run(args[len(args)-1], func(t *testing.T) {
			t.Parallel()
			where, files := freeport.Address(t), t.TempDir()
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
			cmd.Env = append(os.Environ(), "ADDRESS="+where, serverEnv+"="+server, "TMPDIR="+files)
			said := new(buffer)
			cmd.Stdout, cmd.Stderr = said, said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(30 * time.Second); !strings.Contains(said.String(), "stop signal"); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the rehearsal has not come to its stop: %s", said)
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			closedSoon(t, where)
			if left, err := os.ReadDir(files); err != nil || len(left) > 0 {
				t.Errorf("%v, %v are left", left, err)
			}
		})
	}
}

// buffer is written by one goroutine and read by another.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
