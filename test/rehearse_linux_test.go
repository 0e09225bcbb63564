package test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

// What the project says of other programs holds for its own: the server, the program of the README,
// and the manifests. In the short form the pod is deleted; in the long one it ends in every way.
func TestRehearse_OurOwnProgramsPass(t *testing.T) {
	t.Parallel()
	hello := filepath.Join(t.TempDir(), "hello")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", hello, "../examples/hello").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, c := range map[string]struct {
		flags   []string
		command func(port, dir string) []string
	}{
		"serve": {
			// As a server for other machines: for clients of its own machine it has no delay.
			command: func(port, dir string) []string {
				tokens := filepath.Join(dir, "tokens")
				if err := os.WriteFile(tokens, []byte("operator admin "+strings.Repeat("k", 43)+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return []string{program(t), "serve", "--store", "sqlite:" + filepath.Join(dir, "tasks.db"), "--listen", "0.0.0.0:" + port, "--token-file", tokens}
			},
			flags: []string{"--http", "http://127.0.0.1:PORT/v1/tasks"},
		},
		"hello": {
			command: func(string, string) []string { return []string{hello} },
			flags:   []string{"--http", "http://127.0.0.1:PORT/nothing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			args := []string{"rehearse", "--json", "--env", "PORT=" + port}
			for _, flag := range c.flags {
				args = append(args, strings.ReplaceAll(flag, "PORT", port))
			}
			if testing.Short() {
				t.Log("make test-full: all scenarios")
			} else {
				args = append(args, "--scenario", "all", "--grace", "15s")
			}
			rehearsed(t, append(append(args, "--"), c.command(port, t.TempDir())...))
		})
	}
}

// rehearsed runs lastcall rehearse, which must find nothing that fails.
func rehearsed(t *testing.T, args []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var report struct {
		Results []struct {
			Scenario         rehearse.Scenario
			Skipped          string
			Findings         []rehearse.Finding
			Answered, Failed int
		}
	}
	if readErr := json.Unmarshal(out, &report); readErr != nil {
		t.Fatalf("%v, %v: %s%s", err, readErr, out, complaints.String())
	}
	if err != nil || len(report.Results) == 0 {
		t.Errorf("lastcall %s: %v", strings.Join(args, " "), err)
	}
	for _, one := range report.Results {
		for _, f := range one.Findings {
			if f.Fails {
				t.Errorf("%s: %s, it %s: %s", one.Scenario, f.Code, f.Code.Title(), f.Seen)
			}
		}
		if one.Skipped == "" && one.Answered < 50 {
			t.Errorf("%s: %d requests were answered, which is hardly any", one.Scenario, one.Answered)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
