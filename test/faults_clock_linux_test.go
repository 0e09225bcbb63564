package test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// A time namespace can have its own monotonic clocks, but not its own wall clock; sqlitestore's
// tests move the wall clock. Here the monotonic clock of another worker is a month behind, as after
// a boot of the machine or on another machine. No process may compare a time that another one has
// written with its own clock.
func TestClock_AServerWhoseMonotonicClockIsAnotherOneIsTakenForDeadOnlyWhenItIs(t *testing.T) {
	t.Parallel()
	const month = "2592000"
	apart := []string{"--user", "--map-root-user", "--time", "--monotonic", month, "--boottime", month, "--kill-child"}
	if out, err := exec.CommandContext(t.Context(), "unshare", append(apart, "true")...).CombinedOutput(); err != nil {
		t.Skipf("time namespaces: run as root, or allow unprivileged user namespaces (%v, %s)", err, out)
	}
	store := "sqlite:" + filepath.Join(t.TempDir(), "tasks.db")
	first := launch(t, exec.Command("unshare", append(append(apart, program(t)), serveArgs(store)...)...))
	takeoverFrom(t, store, first, inTwoSeconds)
}
