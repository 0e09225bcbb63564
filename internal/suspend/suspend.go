// Package suspend reports how long the machine has been suspended. The monotonic clock of a process
// stands still meanwhile, and the wall clock cannot be trusted to show it: it may also be set.
package suspend

import "time"

// Total returns how long the machine was suspended in all, for Since: it counts from any moment.
//
// On Linux it is not affected when the wall clock is set. Elsewhere the standard library has no
// clock that tells a suspended machine from a wall clock that was set, so both count.
func Total() time.Duration { return total() }

// Since returns how long the machine was suspended after Total had returned the given time. Less
// than a tenth of a second is 0, since two clocks are not read at the same moment.
func Since(before time.Duration) time.Duration {
	if slept := Total() - before; slept >= 100*time.Millisecond {
		return slept
	}
	return 0
}
