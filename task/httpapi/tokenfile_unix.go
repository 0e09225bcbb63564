//go:build unix

package httpapi

import (
	"os"
	"syscall"
)

// openNonblocking opens a file for reading. If it is a named pipe, it does not wait for a writer.
func openNonblocking(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
