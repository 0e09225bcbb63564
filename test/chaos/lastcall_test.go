//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// built returns the driver of Lastcall and the real program.
func built(t *testing.T) (driver, program string) {
	t.Helper()
	dir := t.TempDir()
	driver, program = filepath.Join(dir, "service"), filepath.Join(dir, "lastcall")
	for path, where := range map[string]string{driver: "service", program: "../../cmd/lastcall"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", path, ".")
		cmd.Dir = where
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build in %s: %v\n%s", where, err, out)
		}
	}
	return driver, program
}

func TestChaos_LastcallKeepsEveryRule(t *testing.T) {
	stores, duration := []string{sqlite, postgres}, time.Minute
	if testing.Short() {
		t.Parallel() // together with other short ones
		t.Log("make test-full: a minute of each store instead of ten seconds of SQLite")
		stores, duration = stores[:1], 10*time.Second
	}
	driver, program := built(t)
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			if store == postgres {
				if err := pgtest.Missing(); err != nil {
					t.Skip(err)
				}
			}
			dir := t.TempDir()
			code, out := exitCode(t, "-store", store, "-duration", duration.String(), "-driver", driver, "-program", program, "-dir", dir,
				"-workers", "4", "-rate", "200", "-retention", (duration / 3).String(), "-seed", fmt.Sprint(rand.Uint32()))
			t.Log(out)
			if code != codeKept {
				t.Errorf("exit code %d", code)
			}
			if strings.Contains(out, "; 0 tasks were pruned") {
				t.Error("nothing was pruned")
			}
		})
	}
}

func TestChaos_LastcallKeepsEveryRuleOnEachVersionOfPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: two minutes on each version of PostgreSQL that scripts/postgres-versions has fetched")
	}
	bins := pgtest.Versions(t)
	driver, program := built(t)
	for _, bin := range bins {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			t.Setenv("LASTCALL_TEST_PGBIN", bin)
			code, out := exitCode(t, "-store", postgres, "-duration", "2m", "-driver", driver, "-program", program, "-dir", t.TempDir(),
				"-workers", "4", "-rate", "200", "-seed", fmt.Sprint(rand.Uint32()))
			t.Log(out)
			if code != codeKept {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
