package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// Without this each program that was built with the race detector waits a second when it ends.
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, map[string]func(){"lastcall": main, apartRaw: main, apartReady: main})
}

// unwatched is the program without the race detector. Most commands do one thing after the other,
// and with the detector their start takes four times the processor time. The servers of transcripts
// have the detector. So have the tests of each package that a command calls.
var unwatched = sync.OnceValues(func() (path string, err error) {
	watched, err := exec.LookPath("lastcall") // in a directory that TestMain removes
	if err != nil {
		return "", err
	}
	path = filepath.Join(filepath.Dir(watched), "unwatched", "lastcall")
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// The transcripts in testdata call the program as a shell does. They have the commands of package
// testscript (exec, stdin, stdout, stderr, cmp and so on), and these:
//
//	server FLAG...           starts "lastcall serve" on a free port, and sets $SERVER to its address
//	sigterm                  stops it, and expects the exit code 0; stderr is then its log
//	exits CODE COMMAND...    runs a command, and expects an exit code
//	until 'TEXT' COMMAND...  repeats a command until its output matches
//	id NAME                  stores an id that the last command has printed in the variable NAME
func TestCommandLine_AnswersAsItsTranscriptsSay(t *testing.T) {
	commands, err := unwatched()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer, "sigterm": stopServer, "exits": expectCode, "until": repeatUntil, "id": keepID,
		},
		Setup: func(e *testscript.Env) error {
			e.Values["server"] = &scriptServer{env: slices.Clone(e.Vars)}
			e.Setenv("PATH", filepath.Dir(commands)+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
	})
}

// scriptPatience is how long a transcript waits for anything.
const scriptPatience = 30 * time.Second

// scriptServer is the server of a transcript.
type scriptServer struct {
	env []string
	cmd *exec.Cmd // nil unless it runs
	log *bytes.Buffer
}

func serverOf(ts *testscript.TestScript) *scriptServer {
	return ts.Value("server").(*scriptServer)
}

func startServer(ts *testscript.TestScript, _ bool, flags []string) {
	s := serverOf(ts)
	flags = append([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "text"}, flags...)
	cmd := exec.Command("lastcall", flags...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), slices.Clone(s.env)
	for _, name := range []string{storeEnv, "LASTCALL_GRACE"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	s.log = new(bytes.Buffer)
	cmd.Stderr = s.log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s.cmd = cmd
	ts.Defer(func() {
		if s.cmd == cmd {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		ts.Fatalf("the server has not started:\n%s", s.log)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the server
	_, address, _ := strings.Cut(strings.TrimSpace(first), " on ")
	ts.Setenv("SERVER", address)
}

func stopServer(ts *testscript.TestScript, _ bool, _ []string) {
	s := serverOf(ts)
	cmd := s.cmd
	if cmd == nil {
		ts.Fatalf("no server runs")
	}
	s.cmd = nil
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("the server ended with %v:\n%s", err, s.log)
	}
	_, err := s.log.WriteTo(ts.Stderr())
	ts.Check(err)
}

func expectCode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Check(err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func repeatUntil(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until 'TEXT' COMMAND...")
	}
	text, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	// The pauses grow with the time that has passed: a command costs more than a look at a file.
	for began := time.Now(); ; {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if text.MatchString(ts.ReadFile("stdout")) {
			return
		}
		passed := time.Since(began)
		if passed > scriptPatience {
			ts.Fatalf("it has not printed %s", args[0])
		}
		<-time.After(min(max(passed/4, 50*time.Millisecond), time.Second))
	}
}

func keepID(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: id NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
