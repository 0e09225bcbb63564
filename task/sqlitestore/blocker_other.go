//go:build !linux

package sqlitestore

// blockerOf finds no process on this system.
func blockerOf(string) (blocker, bool) { return blocker{}, false }
