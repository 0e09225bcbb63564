//go:build !linux

package execkind

// noExec finds nothing here.
func noExec(string) string { return "" }
