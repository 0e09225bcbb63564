package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Undumpable closes this process to the others of its user: its /proc/PID/environ, mem and fd are
// root's from now on, and nobody without CAP_SYS_PTRACE can trace it or take its descriptors. What it
// executes later is not closed.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close this process to others of its user: %w", err)
	}
	return nil
}
