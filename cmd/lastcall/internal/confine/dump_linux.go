package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Undumpable protects this process from others of its user. From now on its /proc/PID/environ, mem
// and fd belong to root, and only a process with CAP_SYS_PTRACE can trace it or take its
// descriptors. A program that it executes later is not protected.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close this process to others of its user: %w", err)
	}
	return nil
}
