package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// start starts the containers of the pod that do not run: the sidecars, and then the program.
func (r *rehearsal) start(ctx context.Context) error {
	r.started = time.Now()
	what := "started again"
	if r.began.IsZero() {
		r.began, what = r.started, "started"
	}
	if err := r.startSidecars(ctx, what); err != nil {
		return err
	}
	if r.program != nil {
		return nil
	}
	p, err := start(&r.config.Program, r.config.sharePIDs)
	if err != nil {
		return err
	}
	r.program, r.started = p, time.Now()
	r.probes = beginProbes(p.container, p.exited, p.ask, r.probeChanged)
	r.result.Isolation = p.where()
	r.at(r.started, "", what, "%s", strings.Join(r.config.Program.Command, " "))
	return nil
}

// becomeReady waits until the program is ready. Then clients are routed to it.
func (r *rehearsal) becomeReady(ctx context.Context) error {
	targets, err := r.ready(ctx)
	if err != nil || len(targets) == 0 {
		return err
	}
	r.result.URL = targets[0].String()
	r.startup = time.Since(r.started)
	r.traffic = newTraffic(targets, r.config.rate(r.plan))
	return nil
}

// serve lets clients send requests for a while.
func (r *rehearsal) serve(ctx context.Context) error { return r.live(ctx, r.plan.servesFor()) }

// order is the order to stop that the kubelet receives.
func (c *Config) order(p *plan) stopOrder {
	o, whole := p.order, func(d time.Duration) int64 { return int64(d / time.Second) }
	o.pod, o.limit, o.probe = whole(c.Grace), whole(c.NodeGrace), c.Program.Liveness
	return o
}

// lag is how long clients keep connecting after the end has begun.
func (c *Config) lag(p *plan) time.Duration {
	if p.lag != nil {
		return *p.lag
	}
	return c.EndpointLag
}

// rate is how many clients connect per second.
func (c *Config) rate(p *plan) int {
	if p.load == 0 {
		return c.Rate
	}
	return max(c.Rate, min(p.load*c.Rate, maxLoad))
}

// beginEnd does what precedes the hook: it determines the grace period, and when the endpoint is
// removed.
func (r *rehearsal) beginEnd(ctx context.Context) error {
	r.hear()
	r.order = r.config.order(r.plan)
	r.grace = r.order.seconds()
	r.left = untilKill(r.grace)
	r.deleted = time.Now()
	r.probes.stopping(r.order.readinessGoesOn())
	defer r.stopSidecars(ctx, r.order)
	if !r.order.removesEndpoint() {
		stays := "until the container is gone"
		if r.order.readinessGoesOn() && hasReadiness(&r.config.Program) {
			stays = "while the program is ready"
		}
		r.say(r.plan.happens, "the endpoint stays %s; grace %d s", stays, r.grace)
		return nil
	}
	lag := r.config.lag(r.plan)
	r.gone, r.back = r.deleted.Add(lag), time.Time{}
	r.say(r.plan.happens, "the endpoint goes in %v; grace %d s", lag, r.grace)
	return nil
}

// preStop runs the hook, which uses up some of the grace period.
func (r *rehearsal) preStop(ctx context.Context) error {
	if r.config.Program.PreStop == nil || r.grace == 0 {
		return nil
	}
	took, err := r.hook(r.program, "", r.grace, func(run *hookRun) error {
		return r.wait(ctx, run.begun.Add(hookPatience(r.grace)), run.ended)
	})
	r.left = untilKill(lessOf(r.grace, took))
	return err
}

// overrun replaces a hook, and uses up the grace period.
func (r *rehearsal) overrun(ctx context.Context) error {
	r.say("preStop", "a hook that does not end")
	if err := r.wait(ctx, r.deleted.Add(hookPatience(r.grace)), r.program.exited); err != nil {
		return err
	}
	r.say("preStop overran", "the signal comes now, and two seconds are left")
	r.left = untilKill(0)
	return nil
}

// askSlowly sends the requests that are in flight when the signal is sent. The kubelet would send
// the signal at once: an endpoint that is still there goes later by the time that this takes.
func (r *rehearsal) askSlowly(ctx context.Context) error {
	if r.traffic == nil || !r.traffic.has(Slow) {
		return nil
	}
	began := time.Now()
	r.say("in flight", "%s", r.traffic.sendSlow())
	if r.gone.After(began) {
		r.gone = r.gone.Add(time.Since(began))
	}
	return r.wait(ctx, time.Now().Add(slowLead), nil)
}

// signal sends the stop signal, once.
func (r *rehearsal) signal(context.Context) error {
	sig := r.config.Program.StopSignal
	r.handled, r.known = r.program.handles(sig)
	if r.traffic != nil {
		r.traffic.signalled()
		r.late = r.traffic.late.total()
	}
	r.observed = observe(r.program)
	r.signalled = time.Now()
	if err := r.program.stop(sig); err != nil {
		return fmt.Errorf("rehearse: send %v: %w", sig, err)
	}
	r.at(r.signalled, "", "stop signal", "%s, and %v until SIGKILL", signalName(sig), r.left)
	r.deadline = r.signalled.Add(r.left)
	return nil
}

// awaitEnd waits until the program has exited or its time is up.
func (r *rehearsal) awaitEnd(ctx context.Context) error {
	r.stopped = r.program
	for !r.program.hasEnded() {
		var until time.Time
		until, r.cutShort = r.patience()
		if !until.After(time.Now()) {
			break
		}
		if err := r.wait(ctx, until, r.program.exited); err != nil {
			return err
		}
	}
	if r.cutShort && !r.hung && r.traffic == nil && r.givesBack() {
		// The program may have removed its handler to finish its work, which shows only at the end.
		r.cutShort = false
		if err := r.wait(ctx, r.deadline, r.program.exited); err != nil {
			return err
		}
	}
	if r.program.hasEnded() && r.endedInTime() {
		return r.afterEnd(ctx)
	}
	return r.runsOn(ctx)
}

// patience is until when the end of the program is awaited, and whether that is before its time is
// up. A quick rehearsal waits for longer by the time in which this process did not run: the waits
// of clients are judged without that time.
func (r *rehearsal) patience() (until time.Time, cutShort bool) {
	until = r.deadline
	shorten := func(d time.Duration) {
		if early := r.signalled.Add(d); early.Before(until) {
			until, cutShort = early, true
		}
	}
	if r.config.CutShort {
		shorten(max(quickEnough-r.signalled.Sub(r.deleted), quickAtLeast) + r.measured())
	}
	if r.hung {
		shorten(quickAtLeast)
	}
	if r.frozen || r.known && !r.handled && r.program.isolation == namespace {
		// The kernel ignores the signal or holds it back: waiting longer changes nothing.
		shorten(noReaction)
	}
	return until, cutShort
}

// runsOn records that the program has not exited, and where it is.
func (r *rehearsal) runsOn(ctx context.Context) error {
	r.ranOn, r.result.ExitCode = time.Since(r.signalled), -1
	r.givenBack = r.givesBack()
	switch {
	case r.frozen:
		r.say("SIGKILL", "nothing continues it; it would have come %.0f s later", time.Until(r.deadline).Seconds())
	case r.cutShort:
		r.say("not awaited", "it runs on %.1f s after the signal; the rehearsal ends here, %.0f s before its time would be over",
			r.ranOn.Seconds(), time.Until(r.deadline).Seconds())
	default:
		r.say("SIGKILL", "its time is over")
		r.result.ExitCode = 128 + int(syscall.SIGKILL)
	}
	r.settle() // then its clients meet nothing more of the program
	return r.stacks(ctx)
}

// measured is how long this process waited for a processor since the signal, if that was measured.
func (r *rehearsal) measured() time.Duration {
	if r.traffic == nil {
		return 0
	}
	return r.traffic.late.total() - r.late
}

// lateness is how long this process waited for a processor since the signal, at most.
func (r *rehearsal) lateness() time.Duration {
	const unmeasured = 100 * time.Millisecond
	return unmeasured + r.measured()
}

// endedInTime reports whether the program ended before the kubelet would have killed it. This
// process may have been too late to kill it itself.
func (r *rehearsal) endedInTime() bool {
	return !r.program.endedAt.After(r.deadline.Add(r.lateness()))
}

// afterEnd records how the program has ended, and waits for what its clients meet then.
func (r *rehearsal) afterEnd(ctx context.Context) error {
	p := r.program
	when := fmt.Sprintf("%.2f s after the signal", p.endedAt.Sub(r.signalled).Seconds())
	if p.endedAt.Before(r.signalled) {
		when = "before the signal"
	}
	r.at(p.endedAt, "", "exited", "%s, %s", p.ending(), when)
	r.result.ExitCode = p.code
	if r.traffic == nil {
		return nil
	}
	if !r.order.removesEndpoint() && r.gone.IsZero() {
		// The end of the container removes the endpoint. No program can exit at the very moment in which
		// it closes its port. Whenever this process waited for a processor, the program did so too.
		r.gone = p.endedAt.Add(-closing - r.lateness())
	}
	// Clients with a kept connection see its end a little later, and clients that are still routed
	// here find nobody.
	until := p.endedAt.Add(3 * keepAlivePause)
	if !r.traffic.isGone() && until.Before(r.gone) {
		until = r.gone.Add(time.Millisecond)
	}
	err := r.wait(ctx, until, nil)
	r.traffic.drain(ctx)
	return err
}

// startAgain starts again what was stopped or killed, the whole pod or one container, with the
// files that it has left, and waits until the pod is ready. It does so at once, as the kubelet does
// the first time.
func (r *rehearsal) startAgain(ctx context.Context) error {
	r.settle()
	if r.stopped != nil || r.program.hasEnded() {
		if err := r.clean(ctx); err != nil {
			return err
		}
		r.program = nil
	}
	podStopped := r.sidecars.cancel != nil // and not one container
	err := r.endSidecars(ctx, func(s *sidecar) bool { return podStopped || s.program.hasEnded() })
	if err == nil {
		err = r.start(ctx)
	}
	if err == nil {
		_, err = r.ready(ctx)
	}
	if err == nil && len(r.sidecars.list) > 0 {
		err = r.sidecarsStay(ctx)
	}
	var isDown *downError
	if errors.As(err, &isDown) {
		r.find(NotBack, true, "%s", isDown.text)
		return nil
	}
	return err
}

// freeze stops the program and what it has started, as kill -STOP or a debugger does.
func (r *rehearsal) freeze(context.Context) error {
	r.program.freeze()
	r.frozen = true
	r.say("frozen", "SIGSTOP, after which nothing sends SIGCONT")
	return nil
}

// crash kills the program.
func (r *rehearsal) crash(ctx context.Context) error {
	r.deleted = time.Now()
	if err := r.program.stop(syscall.SIGKILL); err != nil {
		return fmt.Errorf("rehearse: send SIGKILL: %w", err)
	}
	r.say(r.plan.happens, "by SIGKILL, as when memory runs out")
	r.result.ExitCode = 128 + int(syscall.SIGKILL)
	if err := r.wait(ctx, time.Now().Add(killPatience), r.program.exited); err != nil || r.program.hasEnded() {
		return err
	}
	return errors.New("rehearse: the program was killed and has not ended: look what it waits for in /proc")
}

// crashSidecars kills the sidecars. The program goes on.
func (r *rehearsal) crashSidecars(ctx context.Context) error {
	r.deleted, r.result.ExitCode = time.Now(), -1
	for _, s := range r.sidecars.list {
		if err := s.program.stop(syscall.SIGKILL); err != nil {
			return fmt.Errorf("rehearse: send SIGKILL to the sidecar %s: %w", s.container.Name, err)
		}
		r.say(r.plan.happens, "sidecar %s: by SIGKILL", s.container.Name)
		if err := awaitAll(ctx, killPatience, s.program.exited); err != nil {
			return err
		}
	}
	if err := r.wait(ctx, time.Now().Add(withoutSidecars), r.program.exited); err != nil {
		return err
	}
	if r.program.hasEnded() {
		r.at(r.program.endedAt, "", "exited", "%s, without its sidecars", r.program.ending())
	}
	return nil
}

// signalAgain sends the stop signal a second time, if the program has not exited meanwhile.
func (r *rehearsal) signalAgain(ctx context.Context) error {
	if err := r.wait(ctx, r.signalled.Add(secondAfter), r.program.exited); err != nil {
		return err
	}
	if r.program.hasEnded() {
		return nil
	}
	r.again = time.Now()
	if err := r.program.stop(r.config.Program.StopSignal); err != nil {
		return fmt.Errorf("rehearse: send %v: %w", r.config.Program.StopSignal, err)
	}
	r.say("second signal", "%s", signalName(r.config.Program.StopSignal))
	return nil
}

// awaitHandler waits until a starting program can handle a stop signal, but not for long: a program
// that can be started must be able to stop. A Go program can handle the signal from its first
// moment on, so it gets some time to reach the middle of its start.
func (r *rehearsal) awaitHandler(ctx context.Context) error {
	r.early = true
	// Counted, not timed: on a busy machine everything takes longer.
	for range int(handlerPolls * r.config.noPort / noPort) {
		if handled, known := r.program.handles(r.config.Program.StopSignal); handled && known && !r.program.runtimeHandles() {
			return nil
		}
		if targets, _ := r.targets(ctx); len(targets) > 0 {
			if _, err := answers(ctx, targets); err == nil {
				r.early = false
				return nil // it is ready
			}
		}
		if err := r.live(ctx, handlerPoll); err != nil {
			return err
		}
	}
	return nil
}

// holdOutput stops reading what the program writes, and fills the pipes in between.
func (r *rehearsal) holdOutput(ctx context.Context) error {
	stuck := r.program.output.hold()
	n := r.program.fillOutput()
	if err := r.wait(ctx, time.Now().Add(time.Second), stuck); err != nil {
		return err
	}
	n += r.program.fillOutput() // replaces what was read meanwhile
	if n == 0 {
		return skip("its output goes to something else than the rehearsal, or cannot be reached")
	}
	r.say("output", "nobody reads it any more; %d KiB wait", n>>10)
	return nil
}
