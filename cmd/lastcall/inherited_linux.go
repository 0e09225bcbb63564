package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeOnExec keeps the descriptors that this process has inherited from the programs that it starts.
// Its own are kept from them since they were opened.
func closeOnExec(log *slog.Logger) {
	const first = 3 // after the standard streams
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return
	}
	// An old kernel, or a sandbox that does not know the call.
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
