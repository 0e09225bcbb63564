//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// driverOf builds the driver of Lastcall, and programOf the real program.
var (
	driverOf  = sync.OnceValues(func() (string, error) { return build("service") })
	programOf = sync.OnceValues(func() (string, error) { return build("../../cmd/lastcall") })
)

// build builds the program in a directory, into the directory that TestMain removes.
func build(where string) (path string, err error) {
	path = filepath.Join(programs, filepath.Base(where))
	// -s -w: nobody debugs it.
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = where
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in %s: %w\n%s", where, err, out)
	}
	return path, nil
}

// built returns what one of them builds.
func built(t *testing.T, of func() (string, error)) string {
	t.Helper()
	path, err := of()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestChaos_LastcallKeepsEveryRule(t *testing.T) {
	stores, duration := []string{sqlite, postgres}, time.Minute
	if testing.Short() {
		t.Parallel() // together with other short ones
		t.Log("make test-full: a minute of each store instead of ten seconds of SQLite")
		stores, duration = stores[:1], 10*time.Second
	}
	driver, program := built(t, driverOf), built(t, programOf)
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
	driver, program := built(t, driverOf), built(t, programOf)
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
