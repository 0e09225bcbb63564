// Package signals names the signals of this system.
package signals

import (
	"os"
	"syscall"
)

var names = map[syscall.Signal]string{
	syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT",
	syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE", syscall.SIGALRM: "SIGALRM", syscall.SIGTERM: "SIGTERM",
}

// Name returns the name that kill -l gives a signal, such as SIGTERM.
func Name(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok {
		if name := names[n]; name != "" {
			return name
		}
		if name := moreNames[n]; name != "" {
			return name
		}
	}
	return s.String()
}

// Number returns the number of a signal, and that of SIGTERM for one that has none.
func Number(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return int(n)
	}
	return int(syscall.SIGTERM)
}
