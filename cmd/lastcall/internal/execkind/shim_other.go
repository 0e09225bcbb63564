//go:build !unix

package execkind

// Shim is not supported here.
func Shim() int { return 1 }
