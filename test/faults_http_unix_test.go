//go:build unix

package test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTokens_AFileThatBlocksOrIsEmptyHoldsUpNeitherRequestsNorTheStop(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdefghijklmnopq"
	work := t.TempDir()
	file := writeFile(t, filepath.Join(work, "tokens"), "ops read,submit "+secret+"\n", 0o600)
	shown := writeFile(t, filepath.Join(work, "secret"), secret, 0o600)
	s := start(t, "sqlite:"+filepath.Join(work, "tasks.db"), "--demo-dir", t.TempDir(), "--token-file", file)
	list := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return exec.CommandContext(ctx, program(t), "list", "--server", s.url, "--token-file", shown).Run()
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.until("a file that is gone is complained of", func() bool { return list() == nil && len(s.lines("no such file")) > 0 })
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("a named pipe is complained of", func() bool { return list() == nil && len(s.lines("it is no file but")) > 0 })
	s.signal(syscall.SIGHUP)
	s.waitLog("reload")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, "", 0o600)
	s.until("an empty file is complained of", func() bool { return list() == nil && len(s.lines("it has no token")) > 0 })
	writeFile(t, file, "none\n", 0o600)
	s.until("nobody is let in", func() bool { return list() != nil })
	if got := s.status("/readyz"); got != http.StatusOK {
		t.Errorf("not ready: %d", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = list()
	s.signal(syscall.SIGTERM)
	s.exits(0)
}

func TestStop_ARequestWhoseBodyNeverComesHoldsItUpForASecond(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdefghijklmnopq"
	work := t.TempDir()
	file := writeFile(t, filepath.Join(work, "tokens"), "ops read,submit "+secret+"\n", 0o600)
	s := start(t, "sqlite:"+filepath.Join(work, "tasks.db"), "--demo-dir", t.TempDir(), "--token-file", file, "--grace", "20s")
	for _, line := range []string{"POST /v1/tasks", "POST /a%0Aabandoned%20go%20forged%1b[31m", "GET /healthz", "GET /metrics"} {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", line); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: no answer: %v", line, err)
		}
		_ = r.Body.Close()
	}
	began := time.Now()
	s.signal(syscall.SIGTERM)
	s.exits(0)
	if took := time.Since(began); took > 15*time.Second { // the grace is 20 s
		t.Errorf("the stop took %v", took)
	}
}
