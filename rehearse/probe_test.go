package rehearse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// told records what the probes of a container report in a synctest bubble: each change with its
// time.
type told struct {
	mu    sync.Mutex
	began time.Time
	said  []string
}

func (o *told) changed(c probeChange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, fmt.Sprintf("%.2f %s %v", c.at.Sub(o.began).Seconds(), c.kind, c.ok))
}

const sec = time.Second

// after is yes from a time on, and until is no from a time on.
func after(d time.Duration) func(time.Duration) answer {
	return func(at time.Duration) answer {
		if at >= d {
			return yes
		}
		return silent
	}
}

func until(d time.Duration) func(time.Duration) answer {
	return func(at time.Duration) answer {
		if at < d {
			return yes
		}
		return no
	}
}

// asked is a container whose probes run for a minute, with their answers by time.
type asked struct {
	name                         string
	container                    Container
	startup, readiness, liveness func(time.Duration) answer
	stop                         time.Duration // when the pod is stopped, 0 for never
	readinessEnds                bool          // when the pod is stopped
	want                         string
}

// workers are the kubelet's worker, row by row.
var workers = []asked{
	{
		name:      "the defaults: every 10 s, a failure after the third, a success at the first",
		container: Container{Liveness: &Probe{TCP: 1}}, liveness: until(5 * sec),
		want: "30.00 liveness false",
	},
	{
		name:      "liveness is not asked before its delay, in whole seconds",
		container: Container{Liveness: &Probe{TCP: 1, InitialDelay: 25 * sec, FailureThreshold: 1}}, liveness: until(0),
		want: "30.00 liveness false",
	},
	{
		name:      "readiness is asked early until it is there, and at the kubelet's times from then on",
		container: Container{Readiness: &Probe{TCP: 1, Period: 5 * sec}},
		readiness: func(at time.Duration) answer {
			if at >= 1200*time.Millisecond && at < 12*sec || at >= 33*sec {
				return yes
			}
			return no
		},
		want: "1.20 readiness true, 25.00 readiness false, 35.00 readiness true",
	},
	{
		name:      "thresholds of successes count as well",
		container: Container{Readiness: &Probe{TCP: 1, Period: sec, SuccessThreshold: 3, FailureThreshold: 1}},
		readiness: func(at time.Duration) answer {
			if at > 4500*time.Millisecond && at < 5500*time.Millisecond {
				return no
			}
			return yes
		},
		want: "0.10 readiness true, 5.00 readiness false, 8.00 readiness true",
	},
	{
		name:      "startup comes before the others",
		container: Container{Startup: &Probe{TCP: 1, FailureThreshold: 30}, Readiness: &Probe{TCP: 1}, Liveness: &Probe{TCP: 1, FailureThreshold: 1}},
		startup:   after(22*sec + 10*time.Millisecond), readiness: after(0), liveness: after(25 * sec),
		want: "22.05 liveness false, 22.05 readiness true, 22.05 startup true",
	},
	{
		name:      "startup gives up",
		container: Container{Startup: &Probe{TCP: 1, Period: sec, FailureThreshold: 4}}, startup: after(10 * sec),
		want: "10.00 startup true, 3.00 startup false",
	},
	{
		name:      "readiness goes on when the pod is deleted, liveness and startup do not",
		container: Container{Readiness: &Probe{TCP: 1, Period: sec}, Liveness: &Probe{TCP: 1, Period: sec, FailureThreshold: 1}},
		readiness: until(20*sec + 1), liveness: until(20*sec + 1), stop: 20*sec + 1,
		want: "0.00 readiness true, 23.00 readiness false",
	},
	{
		name:      "readiness ends too where the kubelet itself evicts the pod",
		container: Container{Readiness: &Probe{TCP: 1, Period: sec}}, readiness: until(20 * sec), stop: 20*sec - 1, readinessEnds: true,
		want: "0.00 readiness true",
	},
	{
		name:      "a command that cannot be run is no answer",
		container: Container{Liveness: &Probe{TCP: 1, Period: sec, FailureThreshold: 3}},
		liveness: func(at time.Duration) answer {
			if at < 10*sec || at > 12*sec {
				return unknown
			}
			return no
		},
		want: "12.00 liveness false",
	},
	{
		name:      "one success among the failures restarts the count",
		container: Container{Liveness: &Probe{TCP: 1, Period: sec, FailureThreshold: 3}},
		liveness: func(at time.Duration) answer {
			if at.Truncate(sec) == 2*sec {
				return yes
			}
			return no
		},
		want: "5.00 liveness false",
	},
}

func TestProbes_AreAskedAsTheKubeletAsks(t *testing.T) {
	for _, c := range workers {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &told{began: time.Now()}
				answers := map[*Probe]func(time.Duration) answer{c.container.Startup: c.startup, c.container.Readiness: c.readiness, c.container.Liveness: c.liveness}
				b := beginProbes(&c.container, make(chan struct{}), func(_ context.Context, p *Probe) (answer, string) {
					return answers[p](time.Since(o.began)), ""
				}, o.changed)
				if c.stop > 0 {
					time.Sleep(c.stop)
					b.stopping(!c.readinessEnds)
				}
				time.Sleep(time.Minute)
				b.stop()
				slices.Sort(o.said) // what follows startup happens at the same moment
				if got := strings.Join(o.said, ", "); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}
