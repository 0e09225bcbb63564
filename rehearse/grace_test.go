package rehearse

import (
	"testing"
	"time"
)

func seconds(n int64) *int64 { return &n }

func duration(d time.Duration) *time.Duration { return &d }

// R1, for a pod that is scheduled and running.
func TestGrace_OfADeletionIsAsTheAPIGivesIt(t *testing.T) {
	for _, c := range []struct {
		pod   int64
		asked *int64
		want  int64
	}{
		{30, nil, 30},
		{0, nil, 0},
		{30, seconds(5), 5},
		{30, seconds(60), 60}, // a deletion may ask for more than the pod
		{30, seconds(0), 0},
		{30, seconds(-1), 1},
		{-7, nil, 1},
	} {
		if got := deletionGrace(c.pod, c.asked); got != c.want {
			t.Errorf("pod %d, asked %v: %d, want %d", c.pod, c.asked, got, c.want)
		}
	}
}

// R3: the least of the given values, or else the pod's, and never less than a second.
func TestGrace_OfAPodIsTheLeastOfWhatTheKubeletIsTold(t *testing.T) {
	for _, c := range []struct {
		pod  int64
		told []int64
		want int64
	}{
		{30, nil, 30},
		{0, nil, 1},
		{30, []int64{60}, 60},
		{30, []int64{60, 10}, 10},
		{30, []int64{10, 60}, 10},
		{30, []int64{0}, 1},
		{30, []int64{10, -3}, 1},
	} {
		if got := effectiveGrace(c.pod, c.told...); got != c.want {
			t.Errorf("pod %d, told %v: %d, want %d", c.pod, c.told, got, c.want)
		}
	}
}

// R4, the table of which grace period each cause gives, together with the effect on the endpoint
// and the readiness probe.
func TestStopOrder_BeginsWithTheGraceOfItsCause(t *testing.T) {
	probe := func(grace *time.Duration) *Probe { return &Probe{Grace: grace} }
	for _, c := range []struct {
		name               string
		order              stopOrder
		want               int64
		removes, readiness bool
	}{
		{"delete, rollout, scale-down, drain", stopOrder{pod: 30}, 30, true, true},
		{"delete with a grace", stopOrder{pod: 30, asked: seconds(5)}, 5, true, true},
		{"delete while no other pod is ready", stopOrder{pod: 30, onlyCopy: true}, 30, false, true},
		{"delete with a longer grace", stopOrder{pod: 30, asked: seconds(90)}, 90, true, true},
		{"force delete", stopOrder{pod: 30, asked: seconds(0)}, 1, true, true},
		{"delete of a pod without grace", stopOrder{pod: 0}, 1, true, true},
		{"delete with a negative grace", stopOrder{pod: 30, asked: seconds(-5)}, 1, true, true},
		{"hard eviction", stopOrder{cause: byHardEviction, pod: 3600}, 1, false, false},
		{"hard eviction of a pod without grace", stopOrder{cause: byHardEviction}, 1, false, false},
		{"soft eviction", stopOrder{cause: bySoftEviction, pod: 60, limit: 6}, 6, false, false},
		{"soft eviction of a quick pod", stopOrder{cause: bySoftEviction, pod: 4, limit: 6}, 4, false, false},
		{"soft eviction without a limit", stopOrder{cause: bySoftEviction, pod: 60}, 1, false, false},
		{"node shutdown", stopOrder{cause: byNodeShutdown, pod: 60, limit: 20}, 20, false, false},
		{"node shutdown of a quick pod", stopOrder{cause: byNodeShutdown, pod: 10, limit: 20}, 10, false, false},
		{"liveness", stopOrder{cause: byProbe, pod: 30, probe: probe(nil)}, 30, false, true},
		{"liveness with a grace of its own", stopOrder{cause: byProbe, pod: 30, probe: probe(duration(5 * time.Second))}, 5, false, true},
		{"startup with a longer grace of its own", stopOrder{cause: byProbe, pod: 30, probe: probe(duration(time.Minute))}, 60, false, true},
		// No override, so no floor before the hook.
		{"liveness of a pod without grace", stopOrder{cause: byProbe, probe: probe(nil)}, 0, false, true},
		{"scheduler's preemption, taint manager, PodGC, Eviction API", stopOrder{pod: 45}, 45, true, true},
	} {
		o := c.order
		if got := o.seconds(); got != c.want || o.removesEndpoint() != c.removes || o.readinessGoesOn() != c.readiness {
			t.Errorf("%s: %d s, removes the endpoint %v, readiness goes on %v; want %d, %v, %v", c.name, got, o.removesEndpoint(), o.readinessGoesOn(), c.want, c.removes, c.readiness)
		}
	}
}

// R5 to R8: a hook, then a turn, each truncated to seconds, and then at least two seconds.
func TestGrace_TakesWholeSecondsOffAndLeavesTwo(t *testing.T) {
	for _, c := range []struct {
		grace      int64
		hook, turn time.Duration
		want       time.Duration
	}{
		{30, 0, 0, 30 * time.Second},
		{30, 999 * time.Millisecond, 0, 30 * time.Second}, // truncated
		{30, time.Second, 0, 29 * time.Second},
		// Truncated twice: nearly two seconds cost nothing.
		{30, 999 * time.Millisecond, 999 * time.Millisecond, 30 * time.Second},
		{30, 1999 * time.Millisecond, 4500 * time.Millisecond, 25 * time.Second},
		{8, 2060 * time.Millisecond, 0, 6 * time.Second},
		{5, 2 * time.Second, 0, 3 * time.Second}, // killed about 3 s after SIGTERM, as measured
		{4, 4 * time.Second, 0, 2 * time.Second}, // the hook overran: SIGTERM at 4 s, then 2 s
		{10, 0, 10 * time.Second, 2 * time.Second},
		{10, 3 * time.Second, 7 * time.Second, 2 * time.Second},
		{2, 1500 * time.Millisecond, 0, 2 * time.Second},
		{1, 0, 0, 2 * time.Second}, // a grace of 1 s, a forced deletion and a hard eviction
		{0, 0, 0, 2 * time.Second},
	} {
		if got := untilKill(lessOf(lessOf(c.grace, c.hook), c.turn)); got != c.want {
			t.Errorf("grace %d s, hook %v, turn %v: %v, want %v", c.grace, c.hook, c.turn, got, c.want)
		}
	}
	if got := hookPatience(30); got != 30*time.Second {
		t.Errorf("a hook has %v of 30 s", got)
	}
}
