package rehearse

import (
	"testing"
	"time"
)

func TestGrace_BeginsAsTheKubeletsDoes(t *testing.T) {
	for _, c := range []struct {
		reason    Scenario
		pod, want int64
	}{
		{Delete, 30, 30}, {Delete, 1, 1}, {Delete, 0, 1}, {Delete, -5, 1},
		{ForceDelete, 30, 1}, {ForceDelete, 0, 1}, {HardEviction, 3600, 1},
	} {
		if got := graceSeconds(c.reason, c.pod); got != c.want {
			t.Errorf("%s of a pod with %d s: %d s, want %d", c.reason, c.pod, got, c.want)
		}
	}
}

func TestGrace_TakesWholeSecondsOfAHookOffAndLeavesTwo(t *testing.T) {
	for _, c := range []struct {
		grace int64
		took  time.Duration
		want  time.Duration
	}{
		{30, 0, 30 * time.Second},
		{30, 999 * time.Millisecond, 30 * time.Second}, // truncated
		{30, time.Second, 29 * time.Second},
		{8, 2060 * time.Millisecond, 6 * time.Second},
		{5, 2 * time.Second, 3 * time.Second}, // killed about 3 s after SIGTERM, as measured
		{4, 4 * time.Second, 2 * time.Second}, // the hook overran: SIGTERM at 4 s, then 2 s
		{2, 1500 * time.Millisecond, 2 * time.Second},
		{1, 0, 2 * time.Second}, // a grace of 1 s, a forced deletion and a hard eviction
	} {
		if got := afterHook(c.grace, c.took); got != c.want {
			t.Errorf("grace %d s, hook %v: %v, want %v", c.grace, c.took, got, c.want)
		}
	}
}
