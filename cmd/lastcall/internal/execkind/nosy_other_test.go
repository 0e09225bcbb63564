//go:build !linux

package execkind

// nosyCommand and beNosy are for Linux.
const nosyCommand = "nosy"

func beNosy() {}
