//go:build !linux

package sqlitestore

// bootID is not known here; locks are compared without it.
func bootID() string { return "unknown" }

// refuseNetwork cannot tell here.
func refuseNetwork(string) error { return nil }
