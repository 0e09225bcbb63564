package rehearse

import (
	"strings"
	"syscall"
	"testing"
)

func TestSignal_IsReadAsManifestsAndImagesNameIt(t *testing.T) {
	for text, want := range map[string]int{
		"SIGTERM": 15, "TERM": 15, "term": 15, "15": 15, " SIGQUIT ": 3, "sigwinch": 28, "USR1": 10, "SIGRTMIN": 34,
		"SIGRTMIN+3": 37, "RTMAX-14": 50, "SIGRTMAX": 64, "64": 64,
	} {
		if got, err := ParseSignal(text); int(got) != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "SIG", "0", "65", "-1", "RTMIN-1", "RTMAX+1", "RTMIN+x", "SIGSIGTERM", "TERMINATE", "1.5"} {
		if got, err := ParseSignal(text); err == nil || !strings.Contains(err.Error(), "no signal") {
			t.Errorf("%q: %d, %v; want an error", text, got, err)
		}
	}
}

func TestSignal_ANameIsReadAsWhatItNames(t *testing.T) {
	for number := 1; number <= lastRealTime; number++ {
		if number > 31 && number < firstRealTime {
			continue // the C library's own
		}
		if got, err := ParseSignal(signalName(syscall.Signal(number))); int(got) != number || err != nil {
			t.Errorf("%s, the name of %d, is read as %d, %v", signalName(syscall.Signal(number)), number, got, err)
		}
	}
}
