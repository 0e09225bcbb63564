package container

import (
	"errors"
	"io/fs"
	"syscall"
)

// signal sends SIGTERM to the container's first process, as somebody on its machine can.
func (c *container) signal(pid int) {
	c.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		c.t.Errorf("SIGTERM: %v", err)
	}
}

// owner is the user that a file belongs to.
func owner(info fs.FileInfo) int64 { return int64(info.Sys().(*syscall.Stat_t).Uid) }
