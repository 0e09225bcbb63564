package task

import (
	"testing"
	"time"
)

func TestPrefetch_ItsPaceIsWhatReturnsDuringAClaim(t *testing.T) {
	const slots = 10
	var p prefetch
	now := time.Now()
	claim := func(full, long bool, handlers int, each time.Duration) int {
		now = now.Add(shortHandler)
		for range handlers {
			p.returned(each)
		}
		p.claimed(now, 10*time.Millisecond, full, long, slots)
		return p.pace
	}
	for range 2 { // the time in which nothing is known
		if pace := claim(true, false, 50, 2*time.Millisecond); pace != 0 || p.goesOn() {
			t.Fatalf("pace %d at the beginning", pace)
		}
	}
	if pace := claim(true, false, 50, 2*time.Millisecond); pace != 50 || !p.goesOn() {
		t.Errorf("pace %d, want 10 slots for 10 ms with 2 ms each", pace)
	}
	if pace := claim(true, false, 50, time.Microsecond); pace != maxPrefetch/2 {
		t.Errorf("pace %d, want at most %d", pace, maxPrefetch/2)
	}
	if pace := claim(true, false, 0, 0); pace != maxPrefetch/4 {
		t.Errorf("pace %d after a claim during which nothing returned", pace)
	}
	if pace := claim(false, false, 50, 2*time.Millisecond); pace != 0 {
		t.Errorf("pace %d after a claim that got less than it asked for", pace)
	}
}

func TestPrefetch_ALongHandlerEndsItForTenTimesItsDuration(t *testing.T) {
	var p prefetch
	now := time.Now()
	short := func() bool {
		now = now.Add(10 * time.Millisecond)
		p.returned(time.Millisecond)
		p.claimed(now, 10*time.Millisecond, true, false, 10)
		return p.goesOn()
	}
	for !short() {
	}
	p.returned(200 * time.Millisecond)
	if p.goesOn() {
		t.Error("it goes on until the next claim")
	}
	began := now
	for !short() {
	}
	if paused := now.Sub(began); paused < 2*time.Second || paused > 2*time.Second+prefetchAfter {
		t.Errorf("it was resumed after %v", paused)
	}
	p.claimed(now, 10*time.Millisecond, true, true, 10)
	if p.goesOn() {
		t.Error("it goes on beside a handler that is long already")
	}
}
