package rehearse

import (
	"context"
	"sync"
	"time"
)

const (
	// observeEvery is how often a program that is being stopped is probed, in addition to the
	// kubelet's probes, and observeExec how often by a probe that starts a command.
	observeEvery = 200 * time.Millisecond
	observeExec  = time.Second
	// readyLong is how long after the stop signal the readiness probe of a stopping program may still
	// pass.
	readyLong = time.Second
)

// observation has the answers of a program to its own probes while it is being stopped. The kubelet
// no longer probes liveness then, and readiness perhaps once. Load balancers probe too, and what
// they would see is what matters. Its owner calls stop.
type observation struct {
	cancel context.CancelFunc
	asking sync.WaitGroup

	// These may be read by the caller of stop.
	readyAt time.Time // when the last readiness probe that passed began
	unready bool      // a readiness probe failed
	dead    string    // the first failure of the liveness probe, empty for none
	alive   bool      // a liveness probe was answered
}

// observe begins to probe, when the stop signal is being sent.
func observe(p *program) *observation {
	ctx, cancel := context.WithCancel(context.Background())
	o := &observation{cancel: cancel}
	// A TCP probe cannot report unready: the port accepts, or nobody listens.
	if b := p.container.Readiness; b != nil && b.TCP == 0 {
		o.asking.Go(func() {
			o.each(ctx, p, b, func(began time.Time, got answer, _ string) {
				if got == yes {
					o.readyAt = began
				}
				o.unready = o.unready || got == no
			})
		})
	}
	if b := p.container.Liveness; b != nil && b.TCP == 0 {
		o.asking.Go(func() {
			o.each(ctx, p, b, func(_ time.Time, got answer, said string) {
				o.alive = o.alive || got == yes || got == no
				if got == no && o.dead == "" {
					o.dead = said
				}
			})
		})
	}
	return o
}

// each probes repeatedly until the program has exited.
func (o *observation) each(ctx context.Context, p *program, b *Probe, heard func(time.Time, answer, string)) {
	every := observeEvery
	if b.Exec != nil {
		every = observeExec
	}
	for {
		began := time.Now()
		got, said := p.ask(ctx, b)
		// The outcome of a command that was killed with it says nothing.
		if p.hasEnded() || ctx.Err() != nil {
			return
		}
		heard(began, got, said)
		if !pause(ctx, every) {
			return
		}
	}
}

// stop ends the probes, and waits for the last one.
func (o *observation) stop() {
	if o != nil {
		o.cancel()
		o.asking.Wait()
	}
}

// judge adds the findings about the answers after the signal.
func (o *observation) judge(r *rehearsal, add adder) {
	if o == nil || r.ranOn > 0 {
		return // it did not exit: that is finding enough
	}
	if late := o.readyAt.Sub(r.signalled); !o.unready && late >= readyLong {
		add(StaysReady, false, "it said that it was ready until %.2f s after the signal, and never that it was not", late.Seconds())
	}
	if o.dead != "" {
		add(DeadWhileStopping, false, "%s, while it was being stopped", o.dead)
	}
}
