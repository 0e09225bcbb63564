package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// rehearsal is one that is under way. What happens when is decided by one goroutine, that of run.
type rehearsal struct {
	config  *Config
	program *program
	traffic *traffic // nil without clients
	result  Result
	began   time.Time

	deleted   time.Time
	gone      time.Time // when the endpoint goes, zero if it stays
	signalled time.Time
	deadline  time.Time // when what is left is killed
	handled   bool      // the program has a handler for the signal
	known     bool      // that is known
	cutShort  bool      // a quick rehearsal did not wait for the deadline
	ignored   bool      // its runtime has given the signal back to the kernel, and it runs as before
}

// say notes what happens now.
func (r *rehearsal) say(what, format string, args ...any) {
	r.at(time.Now(), "", what, format, args...)
}

func (r *rehearsal) at(when time.Time, code Code, what, format string, args ...any) {
	e := Event{At: when.Sub(r.began), What: what, Detail: fmt.Sprintf(format, args...), Code: code}
	r.result.Events = append(r.result.Events, e)
	if r.config.Watch != nil {
		r.config.Watch(e)
	}
}

// run takes the program through its life and its end.
func (r *rehearsal) run(ctx context.Context) error {
	r.say("started", "%s", strings.Join(r.config.Program.Command, " "))
	target, err := r.ready(ctx)
	if err != nil {
		return err
	}
	if target != nil {
		r.result.URL = target.String()
		r.traffic = newTraffic(target, r.config.Rate)
		defer r.settle()
	}
	if err := r.live(ctx, steady); err != nil {
		return err
	}
	return r.end(ctx)
}

// settle takes the results of the clients, of whom none goes on.
func (r *rehearsal) settle() {
	r.traffic.stop()
	r.result.Answered, r.result.Failed = r.traffic.answered, len(r.traffic.failed)
}

// live lets the program run for a while, and is an error if it ends.
func (r *rehearsal) live(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.program.exited:
		return r.endedEarly()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *rehearsal) endedEarly() error {
	text := "it wrote nothing"
	if lines := r.program.output.lines(10); lines != nil {
		text = "its last lines:\n  " + strings.Join(lines, "\n  ")
	}
	return fmt.Errorf("rehearse: the program ended by itself after %.2f s with exit code %d, before it was stopped: %s",
		r.program.endedAt.Sub(r.began).Seconds(), r.program.code, text)
}

// ready waits until the program answers, and returns what clients ask for, nil if there is nothing.
func (r *rehearsal) ready(ctx context.Context) (*url.URL, error) {
	for last := errors.New("it was not tried"); ; {
		target := r.target()
		if target != nil {
			var status int
			if status, last = probe(ctx, target); last == nil && status < http.StatusInternalServerError {
				r.say("ready", "GET %s %d", target.RequestURI(), status)
				return target, nil
			}
			if last == nil {
				last = fmt.Errorf("it answers %d", status)
			}
		}
		waited := time.Since(r.began)
		if target == nil && waited >= noPort {
			r.say("ready", "it listens on no port of loopback: there are no clients")
			return nil, nil
		}
		if waited >= r.config.Ready {
			return nil, fmt.Errorf("rehearse: the program was not ready after %v at %s: %w", r.config.Ready, target, last)
		}
		if err := r.live(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// target is what clients ask for, nil while it is not known.
func (r *rehearsal) target() *url.URL {
	if target := parsed(r.config.URL); target != nil {
		return target
	}
	for _, address := range listening(r.program.pids()) {
		return &url.URL{Scheme: "http", Host: address.String(), Path: "/"}
	}
	return nil
}

// parsed is an address that was checked, nil for an empty one.
func parsed(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return nil
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u
}

// probe asks once.
func probe(ctx context.Context, target *url.URL) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// end deletes the pod: the endpoint goes, the hook runs, the signal is sent, and what is left is
// killed.
func (r *rehearsal) end(ctx context.Context) error {
	c := r.config
	grace := graceSeconds(r.result.Scenario, int64(c.Grace/time.Second))
	r.deleted = time.Now()
	if r.result.Scenario == HardEviction {
		r.say(string(r.result.Scenario), "the endpoint stays until the container is gone; grace %d s", grace)
	} else {
		r.gone = r.deleted.Add(c.EndpointLag)
		r.say(string(r.result.Scenario), "the endpoint goes in %v; grace %d s", c.EndpointLag, grace)
	}
	left := afterHook(grace, 0)
	if c.Program.PreStop != nil {
		took, err := r.hook(ctx, hookPatience(grace))
		if err != nil {
			return err
		}
		left = afterHook(grace, took)
	}
	if slow := parsed(c.SlowURL); slow != nil && r.traffic != nil {
		r.traffic.slow(slow)
		r.say("in flight", "%d requests for %s", slowRequests, slow.RequestURI())
		if err := r.wait(ctx, time.Now().Add(slowLead), nil); err != nil {
			return err
		}
	}
	r.handled, r.known = r.program.handles(c.Program.StopSignal)
	if r.traffic != nil {
		r.traffic.signalled()
	}
	r.signalled = time.Now()
	if err := r.program.stop(c.Program.StopSignal); err != nil {
		return fmt.Errorf("rehearse: send %v: %w", c.Program.StopSignal, err)
	}
	r.say("stop signal", "%s, and %v until SIGKILL", signalName(c.Program.StopSignal), left)
	r.deadline = r.signalled.Add(left)
	return r.awaitEnd(ctx)
}

// hook runs the preStop hook, and says how long it took. One that takes longer than the grace goes
// on, as in a container, and is ended with the program.
func (r *rehearsal) hook(ctx context.Context, patience time.Duration) (time.Duration, error) {
	cmd, err := r.program.hook(r.config)
	if err != nil {
		return 0, err
	}
	r.say("preStop", "%s", strings.Join(r.config.Program.PreStop.Exec, " "))
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("rehearse: preStop: %w", err)
	}
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = cmd.Wait()
	}()
	err = r.wait(ctx, begun.Add(patience), ended)
	select {
	case <-ended:
	default:
		if err == nil {
			r.say("preStop overran", "it has used up the grace: the signal comes now, and two seconds are left")
		}
		killGroup(cmd.Process.Pid)
		<-ended
		return patience, err
	}
	took := time.Since(begun)
	if failed != nil {
		r.say("preStop failed", "%v; the stop goes on", failed)
	} else {
		r.say("preStop ended", "after %.2f s", took.Seconds())
	}
	return took, err
}

// wait waits until a moment, or until over is closed, and takes the endpoint away on the way.
func (r *rehearsal) wait(ctx context.Context, until time.Time, over <-chan struct{}) error {
	for {
		next, endpoint := until, r.traffic != nil && !r.gone.IsZero() && !r.traffic.isGone() && !r.gone.After(until)
		if endpoint {
			next = r.gone
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-over:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		if !endpoint {
			return nil
		}
		r.traffic.remove()
		r.say("endpoint gone", "nobody connects any more; who is connected stays")
	}
}

// awaitEnd waits for the program's end, and kills what is left when its time is over.
func (r *rehearsal) awaitEnd(ctx context.Context) error {
	until := r.deadline
	if quick := r.signalled.Add(quickEnough); r.config.CutShort && quick.Before(until) {
		until, r.cutShort = quick, true
	}
	if r.known && !r.handled && r.program.isolation == namespace {
		// The kernel drops the signal: nothing will come of it, however long one waits.
		if early := r.signalled.Add(noReaction); early.Before(until) {
			until, r.cutShort = early, true
		}
	}
	if err := r.wait(ctx, until, r.program.exited); err != nil {
		return err
	}
	if r.unmoved() {
		r.cutShort = false
		if err := r.wait(ctx, r.deadline, r.program.exited); err != nil {
			return err
		}
	}
	select {
	case <-r.program.exited:
		when := fmt.Sprintf("%.2f s after the signal", r.program.endedAt.Sub(r.signalled).Seconds())
		if r.program.endedAt.Before(r.signalled) {
			when = "before the signal"
		}
		r.at(r.program.endedAt, "", "exited", "%s, %s", r.ending(), when)
		r.result.ExitCode = r.program.code
		if r.traffic == nil {
			return nil
		}
		// Who keeps a connection sees its end a little later, and who is still sent here meets nobody.
		until := r.program.endedAt.Add(3 * keepAlivePause)
		if !r.traffic.isGone() && until.Before(r.gone) {
			until = r.gone.Add(time.Millisecond)
		}
		return r.wait(ctx, until, nil)
	default:
	}
	if r.cutShort {
		r.say("not awaited", "it runs on %.1f s after the signal; the rehearsal ends here, %.0f s before its time would be over",
			time.Since(r.signalled).Seconds(), time.Until(r.deadline).Seconds())
	} else {
		r.say("SIGKILL", "its time is over")
	}
	r.result.ExitCode = -1
	return nil
}

// ending says how the program has ended.
func (r *rehearsal) ending() string {
	if r.program.signal != 0 {
		return fmt.Sprintf("by %s, exit code %d", signalName(r.program.signal), r.program.code)
	}
	return fmt.Sprintf("exit code %d", r.program.code)
}

// signalName is a signal's name as kill -l has it.
func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGHUP: "SIGHUP",
		syscall.SIGKILL: "SIGKILL", syscall.SIGABRT: "SIGABRT", syscall.SIGSEGV: "SIGSEGV",
	}
	if name := names[s]; name != "" {
		return name
	}
	return s.String()
}
