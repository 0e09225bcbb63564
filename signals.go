package lastcall

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/signals"
)

func defaultStopSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if signals.Hangup != nil {
		all = append(all, signals.Hangup)
	}
	return all
}

// checkSignals returns an error for signals that no program can catch.
func checkSignals(all []os.Signal) error {
	for _, s := range all {
		if s == os.Kill || s == signals.Stop && signals.Stop != nil {
			return fmt.Errorf("lastcall: %s in StopSignals cannot be caught by any program: leave it out; tasks survive it (package task)", signals.Name(s))
		}
		if s == nil {
			return errors.New("lastcall: a nil signal in StopSignals: leave it out")
		}
	}
	return nil
}

// notify registers for signals one by one, since signal.Notify takes an empty list for all
// signals. A nil signal is one that this platform does not have; it is left out.
func notify(c chan<- os.Signal, some ...os.Signal) {
	for _, s := range some {
		if s != nil {
			signal.Notify(c, s)
		}
	}
}
