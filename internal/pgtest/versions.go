package pgtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Versions returns the program directories of the PostgreSQL versions that
// scripts/postgres-versions has fetched, one for each major version. If there is none, it skips the
// test.
func Versions(t testing.TB) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		// The pattern is well formed.
		if found, _ := filepath.Glob(filepath.Join(dir, ".bin", "postgres", "[0-9]*", "bin")); len(found) > 0 {
			return found
		}
	}
	t.Skip("no other versions of PostgreSQL: scripts/postgres-versions fetches them")
	return nil
}

// OnEachVersion runs some tests of the test binary again, with -short, on each of the Versions. The
// pattern is for -run; at least one test that it matches must pass.
func OnEachVersion(t *testing.T, pattern string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "LASTCALL_TEST_P") })
	for _, bin := range Versions(t) {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "-test.short", "-test.v", "-test.run="+pattern)
			cmd.Env = append(slices.Clone(env), "LASTCALL_TEST_PGBIN="+bin)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "\n--- PASS: ") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
