package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// patience bounds every wait for something that will happen.
const patience = 60 * time.Second

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lastcall-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "lastcall")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", path, ".")
	cmd.Dir = "../cmd/lastcall"
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // in the temporary directory anyway
	}
	os.Exit(code)
}

// program returns the path of the built binary.
func program(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// record is what the tests read of a task's JSON.
type record struct {
	ID            string
	Kind          string
	Status        string
	Reason        string
	Runs          int
	Attempts      int
	Interruptions int
	Crashes       int
	Error         string
	Progress      struct{ Fraction float64 }
	Checkpoint    struct {
		Entries, Total int
		Size           int64
		Part           string
		At             int
	}
	History []struct {
		PID     int
		Status  string
		Reason  string
		Error   string
		Crashed bool
	}
}

// command runs a command of the program that ends by itself, and returns what it printed.
func command(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program(t), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("lastcall %q: %v\n%s", args, err, &stderr)
	}
	return out
}

// fails runs a command that must fail, and returns its code and all that it printed.
func fails(t *testing.T, args ...string) (code int, out []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(t), args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("lastcall %q: %v, want a failure:\n%s", args, err, out)
	}
	return exit.ExitCode(), out
}

func show(t *testing.T, store, id string) record {
	t.Helper()
	var r record
	out := command(t, "show", "--json", "--store", store, id)
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("show --json: %v\n%s", err, out)
	}
	return r
}

// server is a running "lastcall serve".
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	done chan struct{} // closed when the process has ended

	mu    sync.Mutex
	log   strings.Builder
	grown chan struct{} // closed and replaced when there is more log
}

// start runs a server on a store and waits until it is ready.
func start(t *testing.T, store string, args ...string) *server {
	t.Helper()
	return launch(t, exec.Command(program(t), serveArgs(store, args...)...))
}

func serveArgs(store string, args ...string) []string {
	return append([]string{"serve", "--store", store, "--listen", "127.0.0.1:0", "--demo-kinds", "--migrate"}, args...)
}

// launch starts a server by a command and waits until it is ready.
func launch(t *testing.T, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{t: t, cmd: cmd, done: make(chan struct{}), grown: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	s.cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=", "LASTCALL_GRACE=")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			s.add(lines.Text())
		}
		_ = r.Close()    // at its end already
		_ = s.cmd.Wait() // the state tells
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // ended, mostly
		<-s.done
		if t.Failed() {
			t.Logf("server %d:\n%s", s.cmd.Process.Pid, s.text())
		}
	})
	line := s.waitLog("lastcall serves ")
	s.url = line[strings.LastIndex(line, "http://"):]
	s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK })
	return s
}

func (s *server) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.WriteString(line + "\n")
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *server) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// waitLog waits until the server has printed a line with the text in it, and returns the line.
func (s *server) waitLog(text string) string {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		log, grown := s.log.String(), s.grown
		s.mu.Unlock()
		for line := range strings.Lines(log) {
			if strings.Contains(line, text) {
				return strings.TrimSpace(line)
			}
		}
		select {
		case <-grown:
		case <-s.done:
			if !strings.Contains(s.text(), text) {
				s.t.Fatalf("the server ended without having printed %q:\n%s", text, s.text())
			}
		case <-deadline:
			s.t.Fatalf("the server did not print %q:\n%s", text, s.text())
		}
	}
}

// until polls until something observable has come to pass.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not %s after %v:\n%s", what, patience, s.text())
		}
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%v to %d: %v", sig, s.cmd.Process.Pid, err)
	}
}

// exit waits for the process's end and returns its state.
func (s *server) exit() *os.ProcessState {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("the server did not end:\n%s", s.text())
	}
	return s.cmd.ProcessState
}

// exits waits for the process's end and checks its code.
func (s *server) exits(code int) {
	s.t.Helper()
	if got := s.exit().ExitCode(); got != code {
		s.t.Fatalf("exit code %d, want %d:\n%s", got, code, s.text())
	}
}

// status asks for a path and returns the status of the answer, 0 for none.
func (s *server) status(path string) int {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // nothing was read
	return resp.StatusCode
}

// task asks the server for a task.
func (s *server) task(id string) (record, error) {
	var r record
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/v1/tasks/"+id, nil)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	if resp.StatusCode != http.StatusOK {
		return r, fmt.Errorf("status %s", resp.Status)
	}
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// reaches waits until a task has one of the statuses.
func (s *server) reaches(id string, statuses ...string) record {
	s.t.Helper()
	var r record
	s.until(fmt.Sprintf("%s %v", id, statuses), func() bool {
		got, err := s.task(id)
		if err != nil {
			s.t.Fatalf("task %s: %v\n%s", id, err, s.text())
		}
		r = got
		for _, want := range statuses {
			if r.Status == want {
				return true
			}
		}
		return false
	})
	return r
}

// submit submits a task through the server.
func (s *server) submit(kind, dir, out string) string {
	s.t.Helper()
	payload, err := json.Marshal(map[string]string{"dir": dir, "out": out})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(command(s.t, "submit", "--server", s.url, kind, string(payload))))
}
