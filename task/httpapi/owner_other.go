//go:build !unix

package httpapi

import "io/fs"

// foreignOwner is not known on this platform.
func foreignOwner(fs.FileInfo) (uid int, foreign bool) { return 0, false }
