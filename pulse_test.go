package lastcall

import (
	"testing"
	"time"
)

func TestFreeze_ABeatThatComesMuchLateIsAFreeze(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ elapsed, want time.Duration }{
		{100 * time.Millisecond, 0},
		{50 * time.Millisecond, 0},
		{600 * time.Millisecond, 0}, // a busy machine
		{601 * time.Millisecond, 501 * time.Millisecond},
		{time.Hour, time.Hour - 100*time.Millisecond},
		{-time.Hour, 0}, // a clock that was set back
	} {
		var p pulse
		p.start(start, stopPulse)
		if got := p.beat(start.Add(c.elapsed)); got != c.want {
			t.Errorf("%v: %v, want %v", c.elapsed, got, c.want)
		}
		if got := p.beat(start.Add(c.elapsed + stopPulse)); got != 0 {
			t.Errorf("%v: the next beat tells %v", c.elapsed, got)
		}
	}
}
