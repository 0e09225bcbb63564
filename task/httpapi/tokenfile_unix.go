//go:build unix

package httpapi

import (
	"os"
	"syscall"
)

// openNonblocking opens a file for reading, and does not wait for somebody who writes where it is a
// named pipe.
func openNonblocking(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
