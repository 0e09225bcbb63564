package lastcall

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func defaultStopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if hangupSignal != nil {
		signals = append(signals, hangupSignal)
	}
	return signals
}

// checkSignals returns an error for signals that no program can catch.
func checkSignals(signals []os.Signal) error {
	for _, s := range signals {
		if s == os.Kill || s == stopSignal && stopSignal != nil {
			return fmt.Errorf("lastcall: %s in StopSignals cannot be caught by any program: leave it out; tasks survive it (package task)", signalName(s))
		}
		if s == nil {
			return errors.New("lastcall: a nil signal in StopSignals: leave it out")
		}
	}
	return nil
}

// notify registers for signals one by one, since signal.Notify takes an empty list for all
// signals. A nil signal is one that this platform does not have; it is left out.
func notify(c chan<- os.Signal, signals ...os.Signal) {
	for _, s := range signals {
		if s != nil {
			signal.Notify(c, s)
		}
	}
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
