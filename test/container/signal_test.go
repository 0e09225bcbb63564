package container

import (
	"errors"
	"io/fs"
	"syscall"
)

// signal sends SIGTERM to the container's first process, as any process on its machine with the
// rights can.
func (c *container) signal(pid int) {
	c.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		c.t.Errorf("SIGTERM: %v", err)
	}
}

// owner returns the user that owns a file.
func owner(info fs.FileInfo) int64 { return int64(info.Sys().(*syscall.Stat_t).Uid) }
