//go:build !linux

package execkind

// nosyCommand and beNosy are about Linux.
const nosyCommand = "nosy"

func beNosy() {}
