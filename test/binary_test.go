package test

import (
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
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// patience bounds every wait for something that will happen.
const patience = 2 * time.Minute

// built is the directory of the built program, if a test has needed it.
var built string

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lastcall-test-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "lastcall")
	// -trimpath, as in make build, the examples and scripts/release: they share the build cache.
	// Without tables for debuggers the program is linked in half of the time.
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = "../cmd/lastcall"
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if job := os.Getenv(workerVariable); job != "" {
		os.Exit(workerMain(job))
	}
	code := pgtest.Main(m)
	if left := leftGoroutines(); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left after the tests:\n%s\n", left)
		code = max(code, 1)
	}
	if built != "" {
		_ = os.RemoveAll(built) // it is in the temporary directory anyway
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

// record has the fields of a task's JSON that the tests read.
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

// command runs a command of the program that ends by itself, and returns its output.
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

// fails runs a command that must fail, and returns its exit code and all its output.
func fails(t *testing.T, args ...string) (code int, out []byte) {
	t.Helper()
	self := program(t) // it may have to be built first
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, self, args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("lastcall %q: %v, want a failure:\n%s", args, err, out)
	}
	return exit.ExitCode(), out
}

// try runs a command that may fail, and returns its first line and all its output.
func try(t *testing.T, args ...string) (line string, out []byte, ok bool) {
	t.Helper()
	self := program(t) // it may have to be built first
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, self, args...).CombinedOutput()
	line, _, _ = strings.Cut(string(out), "\n")
	return line, out, err == nil
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
	*process
	url string
}

// start runs a server on a store and waits until it is ready.
func start(t *testing.T, store string, args ...string) *server {
	t.Helper()
	return launch(t, exec.Command(program(t), serveArgs(store, args...)...))
}

func serveArgs(store string, args ...string) []string {
	return append([]string{"serve", "--store", store, "--listen", "127.0.0.1:0", "--demo-kinds", "--migrate", "--log-format", "text"}, args...)
}

// launch starts a server by a command and waits until it is ready.
func launch(t *testing.T, cmd *exec.Cmd) *server {
	t.Helper()
	cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=", "LASTCALL_GRACE=")
	s := &server{process: begin(t, cmd)}
	line := s.waitLog("lastcall serves ")
	s.url = line[strings.LastIndex(line, "http://"):]
	s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK })
	return s
}

// status requests a path and returns the status of the answer, or 0 if there is none.
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

// task reads a task from the server.
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

// submit submits a task of a demo kind through the server. The task reads slowly: it takes long
// enough to be interrupted, however small its tree is and however fast the machine.
func (s *server) submit(kind, dir, out string) string {
	s.t.Helper()
	payload, err := json.Marshal(map[string]any{"dir": dir, "out": out, "bytesPerSecond": 3 << 20})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(command(s.t, "submit", "--server", s.url, kind, string(payload))))
}
