package stopwatch

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a testing.TB that records failures.
type recorder struct {
	testing.TB
	said strings.Builder
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.said.WriteString(format) }

func TestAtMost_FailsForWhatTookLongerThanTheMachineCanHaveAdded(t *testing.T) {
	for _, c := range []struct {
		took, lag time.Duration
		fails     bool
	}{
		{999 * time.Millisecond, time.Millisecond, false},
		{1004 * time.Millisecond, time.Millisecond, false},
		{1006 * time.Millisecond, time.Millisecond, true},
		{2 * time.Second, 300 * time.Millisecond, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{TB: t}
			w := &Watch{t: r, began: time.Now(), stop: func() {}, lag: make(chan time.Duration, 1)}
			w.lag <- c.lag
			time.Sleep(c.took) // in a bubble: virtual time
			if took := w.AtMost(time.Second, "it"); took != c.took || (r.said.Len() > 0) != c.fails {
				t.Errorf("%v with a lag of %v: %v, %q", c.took, c.lag, took, &r.said)
			}
		})
	}
}

func TestLongest_IsMeasuredOnceThoughThereIsNoTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := longest(ctx, func() { time.Sleep(time.Second) }); got != time.Second { // virtual
			t.Errorf("got %v", got)
		}
	})
}

func TestStart_APlainWatchShowsWhatPassed(t *testing.T) {
	w := Start(t)
	time.Sleep(20 * time.Millisecond) // the measured time
	if took := w.AtMost(time.Minute, "nothing"); took < 20*time.Millisecond {
		t.Errorf("got %v", took)
	}
}

func TestSample_WritesToTheDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	sample(file)
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Error(info, err)
	}
}
