package test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The kernel lets a time namespace have monotonic clocks of its own, and no wall clock: that one is
// moved in sqlitestore's tests. Here a neighbour's clock is a month behind, as after a boot of the
// machine or on another machine: nothing that one process writes is compared with another's clock.
func TestClock_AServerWhoseMonotonicClockIsAnotherOneIsTakenForDeadOnlyWhenItIs(t *testing.T) {
	t.Parallel()
	const month = "2592000"
	apart := []string{"--user", "--map-root-user", "--time", "--monotonic", month, "--boottime", month, "--kill-child"}
	if out, err := exec.CommandContext(t.Context(), "unshare", append(apart, "true")...).CombinedOutput(); err != nil {
		t.Skipf("time namespaces: run as root, or allow unprivileged user namespaces (%v, %s)", err, out)
	}
	store := "sqlite:" + filepath.Join(t.TempDir(), "tasks.db")
	first := launch(t, exec.Command("unshare", append(append(apart, program(t)), serveArgs(store)...)...))
	takeoverFrom(t, store, first)
}
