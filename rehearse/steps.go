package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// start starts the program.
func (r *rehearsal) start(context.Context) error {
	p, err := start(&r.config.Program, r.config.sharePIDs)
	if err != nil {
		return err
	}
	r.program, r.started = p, time.Now()
	what := "started again"
	if r.began.IsZero() {
		r.began, what = r.started, "started"
	}
	r.result.Isolation = p.isolation.String()
	r.at(r.started, "", what, "%s", strings.Join(r.config.Program.Command, " "))
	return nil
}

// becomeReady waits until the program is ready. Then clients are sent to it.
func (r *rehearsal) becomeReady(ctx context.Context) error {
	target, err := r.ready(ctx)
	if err != nil || target == nil {
		return err
	}
	r.result.URL = target.String()
	r.traffic = newTraffic(target, r.config.Rate)
	return nil
}

// serve lets clients ask for a while.
func (r *rehearsal) serve(ctx context.Context) error { return r.live(ctx, steady) }

// order is the stop as the kubelet is told of it.
func (r *rehearsal) order() stopOrder {
	o, whole := r.plan.order, func(d time.Duration) int64 { return int64(d / time.Second) }
	o.pod, o.limit, o.probe = whole(r.config.Grace), whole(r.config.NodeGrace), r.config.Program.Liveness
	return o
}

// beginEnd is what comes before the hook: the grace is decided, and when the endpoint goes.
func (r *rehearsal) beginEnd(context.Context) error {
	order := r.order()
	r.grace = order.seconds()
	r.left = untilKill(r.grace)
	r.deleted = time.Now()
	if !order.deletes() {
		r.say(r.plan.happens, "the endpoint stays until the container is gone; grace %d s", r.grace)
		return nil
	}
	lag := r.config.EndpointLag
	if r.plan.lag != nil {
		lag = *r.plan.lag
	}
	r.gone = r.deleted.Add(lag)
	r.say(r.plan.happens, "the endpoint goes in %v; grace %d s", lag, r.grace)
	return nil
}

// preStop runs the hook, which uses up some of the grace.
func (r *rehearsal) preStop(ctx context.Context) error {
	if r.config.Program.PreStop == nil {
		return nil
	}
	took, err := r.hook(ctx, hookPatience(r.grace))
	r.left = untilKill(lessOf(r.grace, took))
	return err
}

// askSlowly sends the requests that are in flight when the signal comes.
func (r *rehearsal) askSlowly(ctx context.Context) error {
	slow := parsed(r.config.SlowURL)
	if slow == nil || r.traffic == nil {
		return nil
	}
	r.traffic.slow(slow)
	r.say("in flight", "%d requests for %s", slowRequests, slow.RequestURI())
	return r.wait(ctx, time.Now().Add(slowLead), nil)
}

// signal sends the stop signal, once.
func (r *rehearsal) signal(context.Context) error {
	sig := r.config.Program.StopSignal
	r.handled, r.known = r.program.handles(sig)
	if r.traffic != nil {
		r.traffic.signalled()
	}
	r.signalled = time.Now()
	if err := r.program.stop(sig); err != nil {
		return fmt.Errorf("rehearse: send %v: %w", sig, err)
	}
	r.say("stop signal", "%s, and %v until SIGKILL", signalName(sig), r.left)
	r.deadline = r.signalled.Add(r.left)
	return nil
}

// awaitEnd waits for the program's end, and goes on when its time is over.
func (r *rehearsal) awaitEnd(ctx context.Context) error {
	r.stopped = r.program
	until := r.deadline
	shorten := func(d time.Duration) {
		if early := r.signalled.Add(d); early.Before(until) {
			until, r.cutShort = early, true
		}
	}
	if r.config.CutShort {
		shorten(quickEnough)
	}
	if r.frozen || r.known && !r.handled && r.program.isolation == namespace {
		// The kernel keeps or drops the signal: nothing will come of it, however long one waits.
		shorten(noReaction)
	}
	if err := r.wait(ctx, until, r.program.exited); err != nil {
		return err
	}
	select {
	case <-r.program.exited:
		return r.afterEnd(ctx)
	default:
	}
	r.givenBack = r.givesBack()
	switch {
	case r.frozen:
		r.say("SIGKILL", "nothing continues it; it would have come %.0f s later", time.Until(r.deadline).Seconds())
	case r.cutShort:
		r.say("not awaited", "it runs on %.1f s after the signal; the rehearsal ends here, %.0f s before its time would be over",
			time.Since(r.signalled).Seconds(), time.Until(r.deadline).Seconds())
	default:
		r.say("SIGKILL", "its time is over")
	}
	r.result.ExitCode = -1
	return nil
}

// afterEnd notes how the program has ended, and waits for what its clients meet then.
func (r *rehearsal) afterEnd(ctx context.Context) error {
	p := r.program
	when := fmt.Sprintf("%.2f s after the signal", p.endedAt.Sub(r.signalled).Seconds())
	if p.endedAt.Before(r.signalled) {
		when = "before the signal"
	}
	r.at(p.endedAt, "", "exited", "%s, %s", r.ending(), when)
	r.result.ExitCode = p.code
	if r.traffic == nil {
		return nil
	}
	if !r.plan.order.deletes() {
		// The end of the container takes the endpoint away. No program can end in the moment in which
		// it closes its port.
		r.gone = p.endedAt.Add(-closing)
	}
	// Who keeps a connection sees its end a little later, and who is still sent here meets nobody.
	until := p.endedAt.Add(3 * keepAlivePause)
	if !r.traffic.isGone() && until.Before(r.gone) {
		until = r.gone.Add(time.Millisecond)
	}
	return r.wait(ctx, until, nil)
}

// startAgain starts the program anew with what is left of it on disk, and waits until it is ready.
func (r *rehearsal) startAgain(ctx context.Context) error {
	if err := r.clean(ctx); err != nil {
		return err
	}
	r.program = nil
	if err := r.start(ctx); err != nil {
		return err
	}
	_, err := r.ready(ctx)
	var isDown *downError
	if errors.As(err, &isDown) {
		r.find(NotBack, true, "%s", isDown.text)
		return nil
	}
	return err
}

// freeze stops the program and what it has started, as a person with kill -STOP or a debugger does.
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
	return r.wait(ctx, time.Now().Add(10*time.Second), r.program.exited)
}
