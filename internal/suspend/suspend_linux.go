package suspend

import (
	"syscall"
	"time"
	"unsafe"
)

// From time.h. The monotonic clock stands still while the machine is suspended, that of the time
// since the boot does not. Apart from that they advance alike, also if an NTP daemon slows them.
const (
	clockMonotonic = 1
	clockBoot      = 7
)

// A process that is stopped between two readings would take that time for a suspension, so a pair
// of readings counts only if it took less than this.
const together = 10 * time.Millisecond

func total() (slept time.Duration) {
	for range 10 {
		before, ok := read(clockMonotonic)
		boot, okBoot := read(clockBoot)
		after, _ := read(clockMonotonic)
		if !ok || !okBoot {
			return 0 // the system has no such clock: it is never found suspended
		}
		if slept = boot - after; after-before < together {
			break
		}
	}
	return slept
}

// read returns the time of a clock.
func read(clock uintptr) (at time.Duration, ok bool) {
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0) //nolint:gosec // the kernel's own layout
	return time.Duration(t.Nano()), errno == 0
}
