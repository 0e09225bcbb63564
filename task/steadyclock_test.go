package task

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSteadyClock_BelievesALeapAsSlowlyAsItIsFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off time.Duration
		c := steadyClock{wall: func() time.Time { return time.Now().Round(0).Add(off) }}
		ahead := func() time.Duration { return time.Until(c.read()) }
		const week = 7 * 24 * time.Hour
		if got := ahead(); got != 0 {
			t.Errorf("at first it is %v ahead", got)
		}
		time.Sleep(10 * time.Minute)
		off = week
		if got := ahead(); got != 10*time.Minute {
			t.Errorf("after the leap it is %v ahead", got)
		}
		time.Sleep(3 * 24 * time.Hour)
		if got := ahead(); got > 4*24*time.Hour {
			t.Errorf("three days later it is %v ahead", got)
		}
		time.Sleep(week)
		if got := ahead(); got != week {
			t.Errorf("a week later it is %v ahead", got)
		}
		off = -time.Hour
		if got := ahead(); got != -time.Hour {
			t.Errorf("set back, it is %v ahead", got)
		}
		off = 0
		time.Sleep(time.Hour)
		if got := ahead(); got != 0 {
			t.Errorf("set right, it is %v ahead", got)
		}
	})
}
