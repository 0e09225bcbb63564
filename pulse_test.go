package lastcall

import (
	"testing"
	"time"
	"unsafe"
)

func TestFreeze_ABeatThatComesMuchLateIsAFreeze(t *testing.T) {
	start := time.Now()
	for _, c := range []struct{ elapsed, slept, want time.Duration }{
		{100 * time.Millisecond, 0, 0},
		{50 * time.Millisecond, 0, 0},
		{600 * time.Millisecond, 0, 0}, // a busy machine
		{601 * time.Millisecond, 0, 501 * time.Millisecond},
		{time.Hour, 0, time.Hour - 100*time.Millisecond},
		{100 * time.Millisecond, time.Hour, time.Hour}, // a machine that was suspended
	} {
		var p pulse
		p.start(start, stopPulse)
		p.slept -= c.slept
		if got := p.beat(start.Add(c.elapsed)); (got-c.want).Abs() > 100*time.Millisecond || (got == 0) != (c.want == 0) {
			t.Errorf("%v: %v, want %v", c, got, c.want)
		}
		if got := p.beat(start.Add(c.elapsed + stopPulse)); got != 0 {
			t.Errorf("%v: the next beat reports %v", c, got)
		}
	}
}

func TestFreeze_AWallClockThatIsSetIsNone(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		var p pulse
		start := time.Now()
		p.start(start, stopPulse)
		now := wallClockSet(start.Add(stopPulse), by)
		if wall := now.Round(0).Sub(start.Round(0)); now.Sub(start) != stopPulse || (wall-by-stopPulse).Abs() > time.Second {
			t.Fatalf("by the wall clock %v later, by the monotonic one %v", wall, now.Sub(start))
		}
		if got := p.beat(now); got != 0 {
			t.Errorf("set by %v: the process was frozen for %v", by, got)
		}
	}
}

// wallClockSet returns what time.Now would return if the wall clock had been set by some seconds
// before: package time keeps the seconds above the 30 bits of the nanoseconds, and the monotonic
// clock in another word.
func wallClockSet(now time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&now))
	*wall += uint64(int64(by/time.Second) << 30)
	return now
}
