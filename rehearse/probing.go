package rehearse

import (
	"context"
	"fmt"
	"time"
)

// probing has the results of a pod's probes, for the goroutine of run.
type probing struct {
	news    chan struct{} // has an element while there are unhandled changes
	changes []probeChange
	ready   bool // all containers of the pod are ready
	// failures are those of startup and liveness before the pod is stopped, lost those of readiness.
	failures, lost []probeChange
	beforeReady    int // how many of the failures were before the program was ready
}

// probeChanged takes a new result from the goroutine of a probe.
func (r *rehearsal) probeChanged(c probeChange) {
	r.noting.Lock()
	r.probing.changes = append(r.probing.changes, c)
	r.noting.Unlock()
	select {
	case r.probing.news <- struct{}{}:
	default:
	}
}

// hear acts on new results of probes: the endpoint comes and goes with readiness until the pod is
// deleted.
func (r *rehearsal) hear() {
	r.noting.Lock()
	changes := r.probing.changes
	r.probing.changes = nil
	r.noting.Unlock()
	for _, c := range changes {
		r.sayProbe(c)
		if c.ok || !r.deleted.IsZero() {
			continue
		}
		if c.kind == readiness {
			r.probing.lost = append(r.probing.lost, c)
			continue
		}
		if r.probing.failures = append(r.probing.failures, c); !r.probing.ready {
			r.probing.beforeReady = len(r.probing.failures)
		}
	}
	if ready := r.podReady(); ready != r.probing.ready {
		r.probing.ready = ready
		r.moveEndpoint(ready)
	}
}

// sayProbe puts a result on the timeline.
func (r *rehearsal) sayProbe(c probeChange) {
	word, whose := "passes", ""
	if !c.ok {
		word = "fails"
	}
	if c.sidecar {
		whose = "sidecar " + c.container + " "
	}
	r.at(c.at, "", string(c.kind), "%s%s: %s", whose, word, c.said)
}

// podReady reports whether all containers are ready by their probes.
func (r *rehearsal) podReady() bool {
	if r.probes == nil || !r.probes.isReady() {
		return false
	}
	for _, s := range r.sidecars.list {
		if !s.probes.isReady() {
			return false
		}
	}
	return true
}

// awaitProbes waits until the pod is ready by its probes.
func (r *rehearsal) awaitProbes(ctx context.Context) error {
	if err := r.awaitProbe(ctx, r.program, r.probes, r.probes.ready, "the program"); err != nil {
		return err
	}
	for _, s := range r.sidecars.list {
		if err := r.awaitProbe(ctx, s.program, s.probes, s.probes.ready, "the sidecar "+s.container.Name); err != nil {
			return err
		}
	}
	r.hear()
	return nil
}

// awaitProbe waits for a channel that a probe of a program closes.
func (r *rehearsal) awaitProbe(ctx context.Context, p *program, b *probes, done <-chan struct{}, who string) error {
	over := time.NewTimer(r.config.Ready)
	defer over.Stop()
	for {
		select {
		case <-done:
			if p.hasEnded() {
				return p.endedEarly(who)
			}
			return nil
		case <-r.probing.news:
			r.hear()
		case <-p.exited:
			return p.endedEarly(who)
		case <-over.C:
			return down("%s was not ready after %v: %s", who, r.config.Ready, b.lastSaid())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// judgeProbes adds the findings about probes.
func (r *rehearsal) judgeProbes(add adder) {
	for i, c := range r.probing.failures {
		at := c.at.Sub(r.began).Seconds()
		if i < r.probing.beforeReady {
			add(StartsTooSlowly, true, "the %s gave up at %.2f s, when it was not ready: %s", c.whose(), at, c.said)
		} else {
			add(NotAlive, true, "the %s failed at %.2f s, when nothing was stopped: %s", c.whose(), at, c.said)
		}
	}
	for _, c := range r.probing.lost {
		add(LosesReadiness, false, "the %s failed at %.2f s, when nothing was stopped: %s", c.whose(), c.at.Sub(r.began).Seconds(), c.said)
	}
	r.observed.judge(r, add)
}

// whose names the probe and its container.
func (c *probeChange) whose() string {
	if c.sidecar {
		return fmt.Sprintf("%s probe of sidecar %s", c.kind, c.container)
	}
	return fmt.Sprintf("%s probe", c.kind)
}
