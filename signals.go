package lastcall

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

var defaultStopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// checkSignals refuses to listen for what cannot be heard.
func checkSignals(signals []os.Signal) error {
	for _, s := range signals {
		if s == os.Kill || s == stopSignal && stopSignal != nil {
			return fmt.Errorf("lastcall: %s in StopSignals cannot be caught by any program: leave it out; tasks survive it (package task)", signalName(s))
		}
		if s == nil {
			return fmt.Errorf("lastcall: a nil signal in StopSignals: leave it out")
		}
	}
	return nil
}

// notify asks for a signal that this platform may not have.
func notify(c chan<- os.Signal, s os.Signal) {
	if s != nil {
		signal.Notify(c, s)
	}
}

func ignored(s os.Signal) bool { return s != nil && signal.Ignored(s) }

func withoutIgnored(signals []os.Signal) []os.Signal {
	kept := slices.DeleteFunc(slices.Clone(signals), func(s os.Signal) bool { return s == os.Interrupt && ignored(s) })
	return kept
}

var signalNames = map[syscall.Signal]string{
	syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT",
	syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE", syscall.SIGALRM: "SIGALRM", syscall.SIGTERM: "SIGTERM",
}

// signalName returns the name that kill -l gives a signal.
func signalName(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok {
		if name := signalNames[n]; name != "" {
			return name
		}
		if name := moreSignalNames[n]; name != "" {
			return name
		}
	}
	return s.String()
}

func signalNumber(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return int(n)
	}
	return int(syscall.SIGTERM)
}
