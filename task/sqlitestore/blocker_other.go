//go:build !linux

package sqlitestore

// blockerOf finds nobody here.
func blockerOf(string) (blocker, bool) { return blocker{}, false }
