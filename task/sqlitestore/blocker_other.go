//go:build !linux

package sqlitestore

// blocker is not known here.
func blocker(string) int { return 0 }
