package execkind

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// noExec returns the directory of a file from whose file system no program may be started, and
// nothing if it is none.
func noExec(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Flags&unix.ST_NOEXEC == 0 {
		return ""
	}
	return filepath.Dir(path)
}
