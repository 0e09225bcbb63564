//go:build linux

package main_test

import (
	"bufio"
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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// built is the path of the built program.
var built string

// build builds the program.
var build = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "service"); err != nil {
		return "", err
	}
	binary := filepath.Join(built, "service")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

// instance is a process of the service.
type instance struct {
	t          *testing.T
	cmd        *exec.Cmd
	api, debug string // its addresses
	ended      chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

var serving = regexp.MustCompile(`serving (api|debug) address=(\S+)`)

// start starts an instance with the environment of a pod, and waits until it is ready.
func start(t *testing.T, database string) *instance {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &instance{t: t, cmd: exec.Command(binary, "-listen", "127.0.0.1:0", "-debug", "127.0.0.1:0"), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "DATABASE_URL="+database, "KUBERNETES_SERVICE_HOST=127.0.0.1")
	out, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan struct{})
	go p.read(out, found)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%d said:\n%s", p.cmd.Process.Pid, p.said())
		}
	})
	select {
	case <-found:
	case <-p.ended:
		t.Fatalf("it ended before it served:\n%s", p.said())
	case <-time.After(time.Minute):
		t.Fatalf("it does not serve:\n%s", p.said())
	}
	await(t, "the service is ready", func() bool { code, _, _ := get(p.debug + "/readyz"); return code == http.StatusOK })
	return p
}

// read keeps its output, closes found when both addresses are known, and waits for its end.
func (p *instance) read(out io.Reader, found chan<- struct{}) {
	defer close(p.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.mu.Lock()
		fmt.Fprintln(&p.log, lines.Text())
		p.mu.Unlock()
		m := serving.FindStringSubmatch(lines.Text())
		switch {
		case m == nil:
		case m[1] == "debug":
			p.debug = "http://" + m[2]
		default:
			p.api = "http://" + m[2]
			close(found) // it is the second
		}
	}
	_ = p.cmd.Wait()
}

func (p *instance) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *instance) signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Error(err)
	}
}

// code waits for its end and returns its exit code.
func (p *instance) code() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Fatalf("it does not end:\n%s", p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

// await waits until a condition is true.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// fresh opens a connection for each request, like a new client.
var fresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

func get(url string) (code int, body []byte, err error) { return do(fresh, "GET", url, nil) }

func do(c *http.Client, method, url string, body []byte) (code int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	w, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer w.Body.Close()
	answer, err = io.ReadAll(w.Body)
	return w.StatusCode, answer, err
}

// clients place orders and wait for each, at the current address of the service.
type clients struct {
	at             atomic.Pointer[string]
	enough         atomic.Bool
	requests, done atomic.Int64
	working        sync.WaitGroup

	mu     sync.Mutex
	failed []error
}

// newClients starts n clients, half of which keep their connections.
func newClients(n int, at string) *clients {
	c := &clients{}
	c.at.Store(&at)
	keeping := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}, Timeout: time.Minute}
	for i := range n {
		with := fresh
		if i%2 == 0 {
			with = keeping
		}
		c.working.Go(func() {
			for lines := 5 + i; !c.enough.Load(); lines = 5 + (lines+7)%20 {
				if err := c.order(with, lines); err != nil {
					c.mu.Lock()
					c.failed = append(c.failed, err)
					c.mu.Unlock()
				}
			}
		})
	}
	return c
}

// order places an order and asks until it is done.
func (c *clients) order(with *http.Client, lines int) error {
	var got struct {
		ID, Status string
		Result     struct{ Printed int }
	}
	ask := func(method, path string, body []byte) (int, error) {
		c.requests.Add(1)
		url := *c.at.Load() + path
		code, answer, err := do(with, method, url, body)
		if err == nil && code != http.StatusOK && code != http.StatusAccepted {
			err = errors.New(http.StatusText(code))
		}
		if err == nil {
			err = json.Unmarshal(answer, &got)
		}
		if err != nil {
			return code, fmt.Errorf("%s %s: %w: %s", method, url, err, answer)
		}
		return code, nil
	}
	code, err := ask("POST", "/orders", fmt.Appendf(nil, `{"lines": %d}`, lines))
	for err == nil && code == http.StatusAccepted {
		time.Sleep(50 * time.Millisecond) // less than the answer advises, and no busy loop at last call
		code, err = ask("GET", "/orders/"+got.ID, nil)
	}
	if err != nil {
		return err
	}
	if got.Status != "succeeded" || got.Result.Printed != lines {
		return fmt.Errorf("an order of %d lines is %+v", lines, got)
	}
	c.done.Add(1)
	return nil
}

// end lets the clients finish, and fails the test for each request that failed.
func (c *clients) end(t *testing.T) {
	t.Helper()
	c.enough.Store(true)
	c.working.Wait()
	t.Logf("%d of %d requests failed; %d orders are done", len(c.failed), c.requests.Load(), c.done.Load())
	for _, err := range c.failed {
		t.Error(err)
	}
}
