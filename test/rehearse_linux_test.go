package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/rehearse"
)

// The project's own programs must meet its demands on other programs: the server, the program of
// the README, and the manifests. In the short form the pod is only deleted; in the long form it
// ends in every way.
func TestRehearse_OurOwnProgramsAndManifestsPass(t *testing.T) {
	t.Parallel()
	hello := filepath.Join(t.TempDir(), "hello")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", hello, "../examples/hello").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, c := range map[string]func(t *testing.T, dir string) []string{
		"serve": func(t *testing.T, dir string) []string {
			// As a server for other machines: for clients on its own machine it would have no delay.
			return []string{
				"--http", "http://127.0.0.1:8321/v1/tasks", "--", program(t), "serve", "--store", "sqlite:" + filepath.Join(dir, "tasks.db"),
				"--listen", "0.0.0.0:8321", "--token-file", filepath.Join(mounted(t, dir, "run", "tokens", tokens), "tokens"),
			}
		},
		"hello": func(*testing.T, string) []string {
			return []string{"--http", "http://127.0.0.1:8080/nothing", "--", hello}
		},
		"deploy/kubernetes/hello": func(*testing.T, string) []string {
			const of = "../deploy/kubernetes/hello/"
			return []string{"-f", of + "deployment.yaml", "-f", of + "service.yaml", "--http", "http://127.0.0.1:8080/nothing", "--", hello}
		},
		"deploy/kubernetes/sqlite": func(t *testing.T, dir string) []string {
			const of = "../deploy/kubernetes/sqlite/"
			return []string{
				"-f", of + "statefulset.yaml", "-f", of + "service.yaml", "--file", "/etc/lastcall=" + of, "--file", "/data=" + dir, "--file", "/tmp=" + dir,
				"--file", "/run/lastcall=" + mounted(t, dir, "run", "tokens", tokens), "--", program(t),
			}
		},
		"deploy/kubernetes/postgres": func(t *testing.T, dir string) []string {
			const of = "../deploy/kubernetes/postgres/"
			run := mounted(t, dir, "run", "tokens", tokens)
			mounted(t, dir, "run", "store", pgtest.New(t).DSN("postgres"))
			return []string{
				"-f", of + "deployment.yaml", "-f", of + "service.yaml", "--file", "/etc/lastcall=" + of, "--file", "/tmp=" + dir,
				"--file", "/run/lastcall=" + run, "--", program(t),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Each has a loopback interface of its own, and so the ports of its manifest.
			args := []string{"rehearse", "--json", "--network", "none"}
			if testing.Short() {
				t.Log("make test-full: all scenarios, and not the deletion alone")
			} else {
				args = append(args, "--scenario", "all")
			}
			rehearsed(t, append(args, c(t, t.TempDir())...))
		})
	}
}

// tokens is a line of a token file.
var tokens = "operator read,submit,operate " + strings.Repeat("k", 43) + "\n"

// mounted writes a file into a folder that stands for a volume, and returns the folder.
func mounted(t *testing.T, dir, volume, file, text string) string {
	t.Helper()
	path := filepath.Join(dir, volume)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rehearsed runs lastcall rehearse, which must report no failure, and no program that waits for
// the reader of its output.
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
			if f.Fails || f.Code == rehearse.OutputBlocks {
				t.Errorf("%s: %s, it %s: %s", one.Scenario, f.Code, f.Code.Title(), f.Seen)
			}
		}
		if one.Scenario == rehearse.Delete && one.Answered < 50 {
			t.Errorf("%s: %d requests were answered, which is hardly any", one.Scenario, one.Answered)
		}
	}
}
