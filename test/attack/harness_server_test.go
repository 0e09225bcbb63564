//go:build linux

package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is "lastcall serve" in a cage.
type server struct {
	*cage
	cmd  *exec.Cmd
	log  string // a file
	url  string
	done chan struct{}
}

const lastcallDir = "../../cmd/lastcall"

func lastcall(t *testing.T) string { t.Helper(); return build(t, lastcallDir) }

// store returns the address of the cage's own store.
func (c *cage) store() string { return "sqlite:" + filepath.Join(c.dir, "tasks.db") }

// serve starts a server and waits until it is ready.
func (c *cage) serve(args ...string) *server {
	c.t.Helper()
	return c.launch(order{Args: append([]string{"--store", c.store()}, args...)}, nil)
}

// launch starts a server with the given order and with a file as its descriptor 3, and waits until
// it is ready.
func (c *cage) launch(o order, third *os.File) *server {
	c.t.Helper()
	s := c.begin(o, third)
	ready := poll(time.Now().Add(patience), func() bool {
		if s.url == "" {
			if m := regexp.MustCompile(`lastcall serves .*(http://[^\s"]+)`).FindStringSubmatch(s.said()); m != nil {
				s.url = m[1]
			}
		}
		if ended(s.done) {
			return true
		}
		status, _ := s.ask(http.MethodGet, "/readyz", "", "")
		return status == http.StatusOK
	})
	if !ready || ended(s.done) {
		c.t.Fatalf("the server is not ready:\n%s", s.said())
	}
	return s
}

// begin starts a server that may refuse to start.
func (c *cage) begin(o order, third *os.File) *server {
	c.t.Helper()
	s := &server{cage: c, log: filepath.Join(c.rest, fmt.Sprintf("log-%d", time.Now().UnixNano())), done: make(chan struct{})}
	o.Program = lastcall(c.t)
	o.Args = append([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "text"}, o.Args...)
	s.cmd = c.order(o)
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the server has its own copy
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if third != nil {
		s.cmd.ExtraFiles = []*os.File{third}
	}
	if err := s.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // ProcessState has the outcome
	}()
	c.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has usually ended
		<-s.done
		if c.t.Failed() {
			c.t.Logf("the server's log:\n%.4000s", s.said())
		}
	})
	return s
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *server) said() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// stop sends SIGTERM and returns the exit code, or -1 if the server has not ended within d.
func (s *server) stop(d time.Duration) int {
	s.t.Helper()
	by := within(d)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("SIGTERM: %v\n%s", err, s.said())
	}
	if !poll(by, func() bool { return ended(s.done) }) {
		return -1
	}
	return s.cmd.ProcessState.ExitCode()
}

// ask makes a request and returns the status and the body. The status is 0 if there is no answer
// within ten seconds.
func (s *server) ask(method, path, token, body string) (status int, answer string) {
	s.t.Helper()
	return s.askAs(method, path, http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}, body)
}

func (s *server) askAs(method, path string, header http.Header, body string) (status int, answer string) {
	s.t.Helper()
	if s.url == "" {
		return 0, ""
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = header
	if header.Get("Authorization") == "Bearer " {
		header.Del("Authorization")
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }() // read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// submit submits a task and returns its id.
func (s *server) submit(kind, payload, token string) string {
	s.t.Helper()
	status, answer := s.ask(http.MethodPost, "/v1/tasks", token, fmt.Sprintf(`{"kind": %q, "payload": %s}`, kind, payload))
	var got struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != http.StatusCreated {
		s.t.Fatalf("submit %s: %d %s", kind, status, answer)
	}
	return got.ID
}

// status returns the status of a task, or "" when the server does not report it.
func (s *server) status(id string) string {
	s.t.Helper()
	_, answer := s.ask(http.MethodGet, "/v1/tasks/"+id, "", "")
	var got struct{ Status string }
	_ = json.Unmarshal([]byte(answer), &got) // the answer may be an error, without a status
	return got.Status
}

// runs returns how many runs a task has had.
func (s *server) runs(id string) int {
	s.t.Helper()
	_, answer := s.ask(http.MethodGet, "/v1/tasks/"+id, "", "")
	var got struct{ Runs int }
	_ = json.Unmarshal([]byte(answer), &got) // the answer may be an error, without runs
	return got.Runs
}

// run runs a command of the program in the cage, and returns its exit code and what it printed.
func (c *cage) run(env []string, args ...string) (code int, out string) {
	c.t.Helper()
	return c.output(c.command(env, lastcall(c.t), args...))
}

func (c *cage) output(cmd *exec.Cmd) (code int, out string) {
	c.t.Helper()
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), both.String()
}

// sh runs a line of shell in the cage.
func (c *cage) sh(line string) (code int, out string) {
	c.t.Helper()
	return c.output(c.command(nil, "/bin/sh", "-c", line))
}
