//go:build unix

package httpapi

import (
	"io/fs"
	"os"
	"syscall"
)

// foreignOwner returns a file's owner, and whether that is neither this process's user nor root.
func foreignOwner(info fs.FileInfo) (uid int, foreign bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	uid = int(st.Uid)
	return uid, uid != 0 && uid != os.Geteuid()
}
