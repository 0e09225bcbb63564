package rehearse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// sidecar is a sidecar that was started.
type sidecar struct {
	container *Container
	program   *program
	probes    *probes

	// terminated is closed when the sidecar has been stopped or killed.
	terminated chan struct{}

	// These may be read once terminated is closed.
	signalled time.Time
	left      time.Duration // between the signal and SIGKILL
	killed    bool          // its time was up
	cutShort  bool          // a quick rehearsal did not wait for its time

	early bool // it ended before the program, by itself or by its hook
}

// sidecars are the sidecars of a pod.
type sidecars struct {
	// list has those that were started and not ended, in the pod's order, and ended has the others.
	list, ended []*sidecar
	// stops are the goroutines that stop one sidecar each, until cancel.
	stops  sync.WaitGroup
	cancel context.CancelFunc
}

// startSidecars starts the sidecars that are not in the list, one after another: the next one when
// the startup probe of the one before has succeeded, or at once if that one has no startup probe.
func (r *rehearsal) startSidecars(ctx context.Context, what string) error {
	for i := range r.config.Sidecars {
		c := &r.config.Sidecars[i]
		if i < len(r.sidecars.list) && r.sidecars.list[i].container == c {
			continue
		}
		p, err := start(c, r.config.sharePIDs)
		if err != nil {
			return fmt.Errorf("%w (sidecar %s)", err, c.Name)
		}
		s := &sidecar{container: c, program: p, terminated: make(chan struct{})}
		s.probes = beginProbes(c, p.exited, p.ask, func(n probeChange) {
			n.sidecar = true
			r.probeChanged(n)
		})
		r.sidecars.list = slices.Insert(r.sidecars.list, i, s)
		r.say(what, "sidecar %s", c.Name)
		if err := r.awaitProbe(ctx, p, s.probes, s.probes.up, "the sidecar "+c.Name); err != nil {
			return err
		}
	}
	return nil
}

// sidecarsStay returns an error if a sidecar exits soon after its start.
func (r *rehearsal) sidecarsStay(ctx context.Context) error {
	if err := r.live(ctx, staysFor); err != nil {
		return err
	}
	for _, s := range r.sidecars.list {
		if s.program.hasEnded() {
			return s.program.endedEarly("the sidecar " + s.container.Name)
		}
	}
	return nil
}

// stopSidecars begins to stop the sidecars when the pod begins to be stopped. Each runs its hook at
// once, and then waits for its turn: until the program and every later sidecar have exited
// (pkg/kubelet/kuberuntime/kuberuntime_termination_order.go).
func (r *rehearsal) stopSidecars(ctx context.Context, order stopOrder) {
	if order.cause == byProbe || len(r.sidecars.list) == 0 {
		return // only one container is stopped, not the pod
	}
	ctx, r.sidecars.cancel = context.WithCancel(ctx)
	turn := []<-chan struct{}{r.program.exited}
	for _, s := range slices.Backward(r.sidecars.list) {
		s.probes.stopping(order.readinessGoesOn())
		before := slices.Clone(turn)
		r.sidecars.stops.Go(func() { r.stopSidecar(ctx, s, order.seconds(), before) })
		turn = append(turn, s.terminated)
	}
}

// stopSidecar runs the hook of one sidecar, waits for its turn, and stops it.
func (r *rehearsal) stopSidecar(ctx context.Context, s *sidecar, grace int64, before []<-chan struct{}) {
	defer close(s.terminated)
	if s.program.hasEnded() {
		return // it was not restarted; the kubelet stops only what runs
	}
	if s.container.PreStop != nil {
		took, err := r.hook(s.program, "sidecar "+s.container.Name+": ", grace, func(run *hookRun) error {
			return awaitAll(ctx, hookPatience(grace), run.ended)
		})
		if err != nil {
			return
		}
		grace = lessOf(grace, took)
	}
	if grace > 0 {
		began := time.Now()
		if awaitAll(ctx, hookPatience(grace), before...) != nil {
			return
		}
		grace = lessOf(grace, time.Since(began))
	}
	if s.program.hasEnded() {
		return
	}
	sig := s.container.StopSignal
	s.signalled = time.Now()
	if err := s.program.stop(sig); err != nil {
		r.say("stop signal", "sidecar %s: %v", s.container.Name, err)
		return
	}
	s.left = untilKill(grace)
	r.say("stop signal", "sidecar %s: %s, and %v until SIGKILL", s.container.Name, signalName(sig), s.left)
	wait := s.left
	if r.config.CutShort && wait > quickEnough {
		wait, s.cutShort = quickEnough, true
	}
	if awaitAll(ctx, wait, s.program.exited) != nil {
		return
	}
	if s.program.hasEnded() {
		s.cutShort = false
		r.at(s.program.endedAt, "", "exited", "sidecar %s: %s, %.2f s after the signal", s.container.Name, s.program.ending(), s.program.endedAt.Sub(s.signalled).Seconds())
		return
	}
	if s.cutShort {
		r.say("not awaited", "sidecar %s runs on %v after the signal; the rehearsal ends here", s.container.Name, wait)
		return
	}
	s.killed = true
	_ = s.program.stop(syscall.SIGKILL) // its end is awaited by endPod
	r.say("SIGKILL", "sidecar %s: its time is over", s.container.Name)
}

// notAwaited reports whether the rehearsal ended before the program did, and before the program's
// time was up.
func (r *rehearsal) notAwaited() bool { return r.cutShort && r.ranOn > 0 }

// awaitSidecars waits until the sidecars have been stopped. A program that still runs when its time
// is up is killed first: only then is it the sidecars' turn.
func (r *rehearsal) awaitSidecars(ctx context.Context) error {
	if r.sidecars.cancel == nil || r.notAwaited() {
		return nil
	}
	if err := r.program.stop(syscall.SIGKILL); err != nil {
		return fmt.Errorf("rehearse: kill the program: %w", err)
	}
	for _, s := range r.sidecars.list {
		if err := r.wait(ctx, time.Now().Add(time.Hour), s.terminated); err != nil {
			return err
		}
	}
	return nil
}

// endPod ends what belongs to the pod apart from the program, and waits for it.
func (r *rehearsal) endPod(ctx context.Context) error {
	err := r.endSidecars(ctx, func(*sidecar) bool { return true })
	for _, run := range r.hooks {
		run.end()
	}
	return err
}

// endSidecars ends some sidecars, and all goroutines that stop one, and waits for them.
func (r *rehearsal) endSidecars(ctx context.Context, which func(*sidecar) bool) error {
	if r.sidecars.cancel != nil {
		r.sidecars.cancel()
	}
	r.sidecars.stops.Wait()
	var errs []error
	r.sidecars.list = slices.DeleteFunc(r.sidecars.list, func(s *sidecar) bool {
		if which(s) {
			errs = append(errs, r.endSidecar(ctx, s))
			r.sidecars.ended = append(r.sidecars.ended, s)
			return true
		}
		return false
	})
	return errors.Join(errs...)
}

// endSidecar ends a sidecar that nothing stops any more.
func (r *rehearsal) endSidecar(ctx context.Context, s *sidecar) error {
	s.early = s.program.hasEnded() && s.signalled.IsZero() && r.stopped != nil && s.program.endedAt.Before(r.endOfProgram())
	if s.early {
		r.at(s.program.endedAt, SidecarGone, "exited", "sidecar %s: %s", s.container.Name, s.program.ending())
	}
	s.probes.stop()
	return s.program.end(ctx)
}

// endOfProgram is when the program exited, or now if it still runs.
func (r *rehearsal) endOfProgram() time.Time {
	if r.stopped.hasEnded() {
		return r.stopped.endedAt
	}
	return time.Now()
}

// judgeSidecars adds the findings about how the sidecars ended. It is called after endPod.
func (r *rehearsal) judgeSidecars(add adder) {
	stopped := r.sidecars.cancel != nil && !r.notAwaited()
	for _, s := range r.sidecars.ended {
		name := s.container.Name
		switch {
		case s.early:
			add(SidecarGone, true, "sidecar %s ended %.2f s before the program, %s", name, r.endOfProgram().Sub(s.program.endedAt).Seconds(), s.program.ending())
		case stopped && s.killed:
			add(SidecarKilled, true, "sidecar %s had not ended %v after its %s", name, s.left, signalName(s.container.StopSignal))
		case stopped && s.cutShort:
			add(SidecarKilled, false, "sidecar %s ran on %v after its %s, when the rehearsal ended", name, quickEnough, signalName(s.container.StopSignal))
		}
	}
}

// awaitAll waits until all channels are closed or the patience is over. It returns an error if ctx
// ends.
func awaitAll(ctx context.Context, patience time.Duration, all ...<-chan struct{}) error {
	over := time.NewTimer(patience)
	defer over.Stop()
	for _, one := range all {
		select {
		case <-one:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
