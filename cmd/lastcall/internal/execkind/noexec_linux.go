package execkind

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// noExec returns the directory of a file if its file system is mounted so that no program may be
// started from it, else "".
func noExec(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Flags&unix.ST_NOEXEC == 0 {
		return ""
	}
	return filepath.Dir(path)
}
