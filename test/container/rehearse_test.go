package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// The overlay, as kustomize makes it, passes a rehearsal with the program. The manifests that are
// applied as they are have theirs in ../rehearse_linux_test.go.
func TestManifests_TheOverlayPassesARehearsalOfEveryScenario(t *testing.T) {
	if testing.Short() {
		t.Log("make test-full: the overlay in every scenario")
		return
	}
	text, err := built(t, "overlay", "").AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	dir, run := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "overlay.yaml")
	for name, content := range map[string]string{
		file:                         string(text),
		filepath.Join(run, "tokens"): "test submit " + secret + "\n",
		filepath.Join(run, "store"):  pgtest.New(t, "fsync=off").DSN("postgres"),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "rehearse", "--network", "none", "--scenario", "all", "-f", file,
		"--file", "/tmp="+dir, "--file", "/run/lastcall="+run, "--", program)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
