//go:build linux

package pgstore

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tests of the rules and of what people have set are run again, each time with another server.
func TestVersions_EachServerKeepsTheRules(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: the rules on each version of PostgreSQL that scripts/postgres-versions has fetched")
	}
	found, err := filepath.Glob("../../.bin/postgres/[0-9]*/bin")
	if err != nil || len(found) == 0 {
		t.Skip("no other versions of PostgreSQL: scripts/postgres-versions fetches them")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "LASTCALL_TEST_P") })
	for _, bin := range found {
		full, err := filepath.Abs(bin)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			cmd := osexec.CommandContext(t.Context(), program, "-test.short", "-test.v", "-test.run=^(TestStore_|TestPromise_|TestSettings_|TestOpen_|TestMigrate_|TestRunNumber_|TestLostCommits_)")
			cmd.Env = append(slices.Clone(env), "LASTCALL_TEST_PGBIN="+full)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestStore_KeepsItsRules ") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
