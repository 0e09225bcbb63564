//go:build !unix

package execkind

// Shim is not possible here.
func Shim() int { return 1 }
