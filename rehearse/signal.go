package rehearse

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// signalNames are the names of Linux's signals by their numbers. The numbers are the same on every
// architecture but MIPS, SPARC and Alpha, and do not depend on where this is compiled.
var signalNames = [...]string{
	1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1",
	11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 16: "STKFLT", 17: "CHLD", 18: "CONT", 19: "STOP", 20: "TSTP",
	21: "TTIN", 22: "TTOU", 23: "URG", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 28: "WINCH", 29: "IO", 30: "PWR",
	31: "SYS",
}

// The real-time signals of a process. The C library keeps the first two for itself.
const firstRealTime, lastRealTime = 34, 64

// ParseSignal returns the signal that a manifest's lifecycle.stopSignal or an image's STOPSIGNAL
// names: SIGTERM, TERM, 15, SIGRTMIN+3 and SIGRTMAX-3, in upper or lower case.
func ParseSignal(text string) (syscall.Signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "SIG")
	if number, err := strconv.Atoi(name); err == nil {
		if number < 1 || number > lastRealTime {
			return 0, fmt.Errorf("rehearse: there is no signal %s: signals are 1 to %d", text, lastRealTime)
		}
		return syscall.Signal(number), nil
	}
	for number, one := range signalNames {
		if one == name && one != "" {
			return syscall.Signal(number), nil
		}
	}
	switch base, offset := name[:min(len(name), len("RTMIN"))], name[min(len(name), len("RTMIN")):]; base {
	case "RTMIN", "RTMAX":
		n, err := strconv.Atoi(offset)
		number := map[string]int{"RTMIN": firstRealTime, "RTMAX": lastRealTime}[base] + n
		if (offset == "" || err == nil) && number >= firstRealTime && number <= lastRealTime {
			return syscall.Signal(number), nil
		}
	}
	return 0, fmt.Errorf("rehearse: there is no signal %q: a name is TERM, SIGTERM, QUIT, WINCH, USR1 and so on, or a number", text)
}

// signalName returns a signal's name as kill -l prints it.
func signalName(s syscall.Signal) string {
	switch number := int(s); {
	case number > 0 && number < len(signalNames):
		return "SIG" + signalNames[number]
	case number >= firstRealTime && number <= lastRealTime:
		return strings.TrimSuffix(fmt.Sprintf("SIGRTMIN+%d", number-firstRealTime), "+0")
	}
	return fmt.Sprintf("signal %d", int(s))
}
