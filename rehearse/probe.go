package rehearse

import (
	"context"
	"sync"
	"time"
)

// probeKind is the purpose of a probe.
type probeKind string

const (
	startup   probeKind = "startup"
	readiness probeKind = "readiness"
	liveness  probeKind = "liveness"
)

// hurry is how often a program is probed before it is ready for the first time, and hurryExec how
// often by a probe that starts a command. The kubelet would probe at its own times, for which a
// rehearsal need not wait: the result of such an early probe counts only if it is a success.
const (
	hurry     = 50 * time.Millisecond
	hurryExec = 500 * time.Millisecond
)

// probeChange is a new result of a probe.
type probeChange struct {
	container string
	sidecar   bool
	kind      probeKind
	ok        bool
	said      string
	at        time.Time
}

// probes runs the probes of a container as the kubelet does (pkg/kubelet/prober/worker.go): startup
// until it has succeeded, and before that no other; readiness until the container has exited;
// liveness until it has failed, or its pod is stopped. Its owner calls stop.
type probes struct {
	container *Container
	ended     <-chan struct{} // closed when the container has exited, and probing with it
	asker     func(context.Context, *Probe) (answer, string)
	changed   func(probeChange) // called by the goroutines of the probes, one at a time

	began   time.Time
	cancel  context.CancelFunc
	workers sync.WaitGroup
	// endLife ends startup and liveness, endReadiness readiness.
	endLife, endReadiness context.CancelFunc

	mu      sync.Mutex
	said    map[probeKind]string // the latest answer
	results map[probeKind]bool   // startup has no result before it has succeeded or failed
	up      chan struct{}        // closed when the startup probe has succeeded
	ready   chan struct{}        // closed when it is ready for the first time
}

// beginProbes begins to probe. The container has just been started.
func beginProbes(c *Container, ended <-chan struct{}, asker func(context.Context, *Probe) (answer, string), changed func(probeChange)) *probes {
	b := &probes{
		container: c, ended: ended, asker: asker, changed: changed, began: time.Now(),
		results: map[probeKind]bool{liveness: true, readiness: false}, // the kubelet's initial results
		said:    map[probeKind]string{},
		up:      make(chan struct{}), ready: make(chan struct{}),
	}
	var ctx, life, readying context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	life, b.endLife = context.WithCancel(ctx)
	readying, b.endReadiness = context.WithCancel(ctx)
	if c.Startup == nil {
		b.results[startup] = true
		close(b.up)
		if c.Readiness == nil {
			close(b.ready)
		}
	}
	for _, one := range c.probes() {
		until := life
		if one.kind == readiness {
			until = readying
		}
		b.workers.Go(func() { b.work(until, one.kind, one.Probe) })
	}
	return b
}

// stop ends all probes, and waits for those that are in flight.
func (b *probes) stop() {
	b.cancel()
	b.workers.Wait()
}

// stopping is called when the container begins to be stopped: startup and liveness end, and
// readiness too unless it goes on.
func (b *probes) stopping(readinessGoesOn bool) {
	b.endLife()
	if !readinessGoesOn {
		b.endReadiness()
	}
}

// isReady reports whether the container is ready by its probes.
func (b *probes) isReady() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.results[startup] && (b.container.Readiness == nil || b.results[readiness])
}

// worker is one probe of a container.
type worker struct {
	kind  probeKind
	probe *Probe
	last  answer
	run   int // how many times in a row it was the outcome
}

// work runs one probe until ctx ends, or until its result is final.
func (b *probes) work(ctx context.Context, kind probeKind, probe *Probe) {
	w := &worker{kind: kind, probe: probe}
	if kind != startup {
		select {
		case <-b.up:
		case <-ctx.Done():
			return
		}
	}
	ticks := time.NewTicker(probe.period())
	defer ticks.Stop()
	early := time.NewTicker(w.hurry())
	defer early.Stop()
	if kind == liveness {
		early.Stop()
	}
	for regular := true; ; {
		if b.askOnce(ctx, w, regular) {
			return
		}
		if kind == readiness && b.isReady() {
			early.Stop()
		}
		select {
		case <-ticks.C:
			regular = true
		case <-early.C:
			regular = false
		case <-b.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// hurry is how often the probe runs before it has succeeded.
func (w *worker) hurry() time.Duration {
	if w.probe.Exec != nil {
		return hurryExec
	}
	return hurry
}

// askOnce probes once, at the kubelet's time or before it, and reports whether that was the last
// time.
func (b *probes) askOnce(ctx context.Context, w *worker, regular bool) (over bool) {
	if regular && int64(time.Since(b.began)/time.Second) < int64(w.probe.InitialDelay/time.Second) {
		return false
	}
	got, said := b.asker(ctx, w.probe)
	select {
	case <-b.ended:
		return true
	case <-ctx.Done():
		return true
	default:
	}
	b.note(w.kind, said)
	if got == unknown || got != yes && !regular {
		return false
	}
	successes, failures := w.probe.thresholds()
	ok := got == yes
	if was := w.last == yes; w.last == unknown || was != ok {
		w.run = 0
	}
	w.last = got
	w.run++
	if ok && w.run < successes || !ok && w.run < failures {
		return false
	}
	b.set(probeChange{container: b.container.Name, kind: w.kind, ok: ok, said: said, at: time.Now()})
	switch w.kind {
	case startup:
		// The kubelet would stop the container after a failure; here it is reported, and the program may
		// still start.
		return ok
	case liveness:
		return !ok
	case readiness:
	}
	return false
}

// note records the latest answer to a probe.
func (b *probes) note(kind probeKind, said string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said[kind] = said
}

// lastSaid returns the latest answer to the probe that the container waits for.
func (b *probes) lastSaid() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind := readiness
	if !b.results[startup] {
		kind = startup
	}
	if b.said[kind] == "" {
		return "its " + string(kind) + " probe was not asked"
	}
	return "its " + string(kind) + " probe says " + b.said[kind]
}

// set records a result, and reports it if it is a new one.
func (b *probes) set(c probeChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, known := b.results[c.kind]; known && c.ok == was {
		return
	}
	b.results[c.kind] = c.ok
	if c.kind == startup && c.ok {
		close(b.up)
		if b.container.Readiness == nil {
			close(b.ready)
		}
	}
	if c.kind == readiness && c.ok {
		select {
		case <-b.ready:
		default:
			close(b.ready)
		}
	}
	b.changed(c)
}
