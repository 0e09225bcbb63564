// Package execfile writes programs that are executed at once, as tests do.
package execfile

import (
	"os"
	"syscall"
)

// Write is [os.WriteFile] for a program. This process starts no other one while the file is open. A
// process that is started inherits the file, and has it until it executes its own program; and the
// kernel refuses to execute a file that is open for writing: "text file busy".
func Write(path string, content []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, mode)
}
