package rehearse

import (
	"context"
	"sync"
	"time"
)

// probeKind is what a probe is for.
type probeKind string

const (
	startup   probeKind = "startup"
	readiness probeKind = "readiness"
	liveness  probeKind = "liveness"
)

// hurry is how often a program is asked before it is ready for the first time, and hurryExec is the
// same where a command is started for it. The kubelet would ask at its own times, which a rehearsal
// need not wait for: what such a question finds out counts only if the answer is yes.
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

// probes asks the probes of a container as the kubelet does (pkg/kubelet/prober/worker.go): startup
// until it has succeeded, and before that nothing else; readiness until the container has ended;
// liveness until it has failed, or its pod is stopped. Its owner calls stop.
type probes struct {
	container *Container
	ended     <-chan struct{} // closed when the container has ended, of which nothing is asked
	asker     func(context.Context, *Probe) (answer, string)
	changed   func(probeChange) // called by the goroutines of the probes, one at a time

	began   time.Time
	cancel  context.CancelFunc
	workers sync.WaitGroup
	// endLife ends startup and liveness, endReadiness readiness.
	endLife, endReadiness context.CancelFunc

	mu      sync.Mutex
	results map[probeKind]bool // startup has none before it has succeeded or failed
	up      chan struct{}      // closed when the container has started, as its startup probe says
	ready   chan struct{}      // closed when it is ready for the first time
}

// beginProbes begins to ask. The container has just been started.
func beginProbes(c *Container, ended <-chan struct{}, asker func(context.Context, *Probe) (answer, string), changed func(probeChange)) *probes {
	b := &probes{
		container: c, ended: ended, asker: asker, changed: changed, began: time.Now(),
		results: map[probeKind]bool{liveness: true, readiness: false}, // what the kubelet takes them for at first
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

// stop ends all questions, and waits for those that are under way.
func (b *probes) stop() {
	b.cancel()
	b.workers.Wait()
}

// stopping is told when the container begins to be stopped: startup and liveness are not asked any
// more, and readiness only if it goes on.
func (b *probes) stopping(readinessGoesOn bool) {
	b.endLife()
	if !readinessGoesOn {
		b.endReadiness()
	}
}

// isReady reports whether the container is ready, as its probes say.
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
	run   int // how often it was last, one after another
}

// work asks one probe until ctx ends, or nothing is left to ask.
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

// hurry is how often the probe is asked before it has succeeded.
func (w *worker) hurry() time.Duration {
	if w.probe.Exec != nil {
		return hurryExec
	}
	return hurry
}

// askOnce asks once, at the kubelet's time or before it, and reports whether that was the last time.
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
		return ok // the kubelet would stop the container when it has failed: here it is told, and may come up yet
	case liveness:
		return !ok
	case readiness:
	}
	return false
}

// set notes a result, and tells it where it is a new one.
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
