//go:build linux

package test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestServe_ATokenFileOpensTheServerToOthersAndIsReadAgainOnSIGHUP(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	file := filepath.Join(work, "tokens")
	const first, second = "first-secret-0123456789abcdef", "second-secret-0123456789abcdef"
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "ops read,submit,operate "+first+"\n")
	s := start(t, "sqlite:"+filepath.Join(work, "tasks.db"), "--demo-dir", t.TempDir(), "--token-file", file, "--listen", "0.0.0.0:0", "--probe-listen", "127.0.0.1:0")
	_, port, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), "]:")
	if port == "" {
		_, port, _ = strings.Cut(strings.TrimPrefix(s.url, "http://"), ":")
	}
	api := "http://127.0.0.1:" + port
	_, probes, _ := strings.Cut(s.waitLog("msg=probes"), "address=")
	command(t, "healthcheck", "--server", "http://"+probes)
	command(t, "healthcheck", "--live", "--server", api)
	if code, out := fails(t, "list", "--server", "http://"+probes); code != 1 {
		t.Errorf("the probes' listener lists tasks: %d\n%s", code, out)
	}

	platform := &server{process: s.process, url: "http://" + probes}
	if got := platform.status("/metrics"); got != http.StatusOK {
		t.Errorf("metrics for the platform: %d", got)
	}
	if got := s.status("/metrics"); got == http.StatusOK {
		t.Error("metrics are shown to everyone who can reach the interface")
	}

	secret := filepath.Join(work, "secret")
	list := func(token string) bool {
		write(secret, token+"\n")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return exec.CommandContext(ctx, program(t), "list", "--server", api, "--token-file", secret).Run() == nil
	}
	if !list(first) || list(second) {
		t.Error("the first token must be good, and no other one")
	}
	write(file, "ops read,submit,operate "+second+"\n")
	s.signal(syscall.SIGHUP)
	s.until("another token", func() bool { return list(second) })
	if list(first) {
		t.Error("the first token is still good")
	}
	if text := s.text(); strings.Contains(text, first) || strings.Contains(text, second) {
		t.Error("the log has a secret")
	}
	stop(s)
}

func TestServe_WithoutATerminalTheLogIsJSON(t *testing.T) {
	t.Parallel()
	s := start(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"), "--log-format", "auto")
	s.signal(syscall.SIGTERM)
	s.exits(0)
	if len(s.lines(`"msg":"stop","phase":"last call"`)) != 1 {
		t.Error("no line of JSON reports the last call")
	}
}

func TestMigrate_PostgresIsMigratedByACommandBeforeAServerStarts(t *testing.T) {
	t.Parallel()
	store := pgtest.DSN(t)
	if code, out := fails(t, "migrate", "status", "--store", store); code != 1 || !bytes.Contains(out, []byte("lastcall migrate up makes them")) {
		t.Errorf("status: %d\n%s", code, out)
	}
	if code, out := fails(t, "doctor", "--store", store); code != 1 || !bytes.Contains(out, []byte("fail  store")) {
		t.Errorf("doctor: %d\n%s", code, out)
	}
	if out := command(t, "migrate", "up", "--store", store); !bytes.Contains(out, []byte("is up to date")) {
		t.Errorf("up: %s", out)
	}
	command(t, "migrate", "status", "--store", store)
	if out := command(t, "doctor", "--store", store); !bytes.Contains(out, []byte("ok    clock")) {
		t.Errorf("doctor: %s", out)
	}
	id := strings.TrimSpace(string(command(t, "submit", "--store", store, "k", "{}")))
	if r := show(t, store, id); r.Status != "queued" {
		t.Errorf("%+v", r)
	}
}

// twoRuns ends its first run when it is interrupted, and prints the number of the run.
const twoRuns = `echo "this is run $LASTCALL_RUN"
	if [ "$LASTCALL_RUN" != 1 ]; then echo "::progress 1 all"; exit 0; fi
	echo "::progress 0.25 a quarter"; trap 'exit 143' TERM; while :; do sleep 0.1; done`

func TestLogs_AFollowedLogAndAWaitGoOnAcrossAHandOver(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"twice": twoRuns}, "")
	first := w.start() // with seconds for closing a store whose disk is busy
	wait := begin(t, exec.Command(program(t), "submit", "--wait", "--server", first.url, "twice", "{}"))
	id := strings.TrimSpace(wait.waitLog("-7"))
	follow := begin(t, exec.Command(program(t), "logs", "-f", "--store", w.store, id))
	follow.waitLog("this is run 1")
	wait.waitLog("25%  a quarter")
	first.signal(syscall.SIGTERM)
	first.waitLog(`phase="last call"`)
	first.signal(syscall.SIGTERM)
	first.exits(0)
	wait.waitLog("asking again")

	second := start(t, w.store, "--config", w.config, "--listen", strings.TrimPrefix(first.url, "http://"))
	follow.exits(0)
	if len(follow.lines("this is run 1")) != 1 || len(follow.lines("this is run 2")) != 1 {
		t.Error("the log that was followed lacks a run, or has one twice")
	}
	wait.exits(0)
	if second.status("/healthz") != http.StatusOK {
		t.Error("the second server is gone")
	}
	stop(second)
}

// demoTree returns a directory with five directories of files for a demonstration.
func demoTree(t *testing.T) (tree string) {
	t.Helper()
	tree = t.TempDir()
	block := bytes.Repeat([]byte("to be compressed, "), 1<<16)
	for i := range 5 {
		path := filepath.Join(tree, fmt.Sprint(i))
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		for j := range 4 {
			if err := os.WriteFile(filepath.Join(path, fmt.Sprint(j)), block, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return tree
}

func TestDemo_ADemonstrationThatWasStoppedGoesOnAndARolloutDoesNothingTwice(t *testing.T) {
	t.Parallel()
	tree, dir := demoTree(t), filepath.Join(t.TempDir(), "demo")
	flags := []string{"--tree", tree, "--dir", dir, "--grace", "5s", "--concurrency", "1"}
	out := command(t, append([]string{"demo", "--stop-after", "50ms"}, flags...)...)
	if !bytes.Contains(out, []byte("\nstop: ")) || !bytes.Contains(out, []byte("run it again")) {
		t.Errorf("stopped:\n%s", out)
	}
	out = command(t, append([]string{"demo"}, flags...)...)
	if !bytes.Contains(out, []byte("going on where")) || !bytes.Contains(out, []byte("50 succeeded, 0 failed")) {
		t.Errorf("run again:\n%s", out)
	}
	out = command(t, append([]string{"demo", "--workers", "2", "--roll", "--at-least", "2s"}, flags...)...)
	if !bytes.Contains(out, []byte("50 of 50 tasks have succeeded")) || !bytes.Contains(out, []byte("no task was done twice")) || bytes.Count(out, []byte("later exit code 0")) != 2 {
		t.Errorf("a rollout:\n%s", out)
	}
	if results, err := os.ReadDir(filepath.Join(dir, "results")); err != nil || len(results) != 50 {
		t.Errorf("%d results, %v", len(results), err)
	}
}
