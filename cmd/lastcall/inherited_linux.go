package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeOnExec marks the descriptors that this process has inherited as close-on-exec, so that the
// programs that it starts do not get them. Its own descriptors are opened with that mark.
func closeOnExec(log *slog.Logger) {
	const first = 3 // after the standard streams
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return
	}
	// The kernel is old, or a sandbox does not allow the call.
	open, listErr := os.ReadDir("/proc/self/fd")
	if listErr != nil {
		log.Warn("programs get the descriptors that the server has inherited", "error", errors.Join(err, listErr))
		return
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
}
