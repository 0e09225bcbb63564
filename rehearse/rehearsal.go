package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// rehearsal is one that is under way. What happens when is decided by one goroutine, that of run.
type rehearsal struct {
	config  *Config
	plan    *plan
	program *program // nil before it is started
	traffic *traffic // nil without clients
	result  Result
	began   time.Time // when the program was started for the first time
	started time.Time // when it was started last
	found   []Finding // by a step

	stopped   *program      // the program as it was stopped; it may have been started again
	grace     int64         // of the hook and the program, in seconds
	left      time.Duration // of it for the program
	deleted   time.Time
	gone      time.Time // when the endpoint goes, zero if it stays
	signalled time.Time
	deadline  time.Time // when what is left is killed
	handled   bool      // the program has a handler for the signal
	known     bool      // that is known
	givenBack bool      // the program has given its handler up and goes on as before
	cutShort  bool      // a quick rehearsal did not wait for the deadline
	frozen    bool      // it was stopped by SIGSTOP
}

// say notes what happens now.
func (r *rehearsal) say(what, format string, args ...any) {
	r.at(time.Now(), "", what, format, args...)
}

func (r *rehearsal) at(when time.Time, code Code, what, format string, args ...any) {
	r.note(Event{At: when.Sub(r.began), What: what, Detail: fmt.Sprintf(format, args...), Code: code})
}

func (r *rehearsal) note(e Event) {
	r.result.Events = append(r.result.Events, e)
	if r.config.Watch != nil {
		r.config.Watch(e)
	}
}

// find notes what a step has seen.
func (r *rehearsal) find(code Code, fails bool, format string, args ...any) {
	r.found = append(r.found, Finding{Code: code, Fails: fails, Seen: fmt.Sprintf(format, args...)})
}

// run takes the program through its life and its end.
func (r *rehearsal) run(ctx context.Context) error {
	for _, do := range r.plan.steps {
		if err := do(r, ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle takes the results of the clients, of whom none goes on.
func (r *rehearsal) settle() {
	if r.traffic != nil {
		r.traffic.stop()
		r.result.Answered, r.result.Failed = r.traffic.answered, len(r.traffic.failed)
	}
}

// clean ends what is still there, and waits for it.
func (r *rehearsal) clean(ctx context.Context) error {
	r.settle()
	if r.program == nil {
		return nil
	}
	killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := r.program.kill(killing); err != nil {
		return fmt.Errorf("rehearse: end the program: %w", err)
	}
	return nil
}

// downError is a program that did not become ready, or did not stay so.
type downError struct{ text string }

func (e *downError) Error() string { return "rehearse: " + e.text }

func down(format string, args ...any) error { return &downError{fmt.Sprintf(format, args...)} }

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
	return down("the program ended by itself after %.2f s with exit code %d, before it was stopped: %s",
		r.program.endedAt.Sub(r.started).Seconds(), r.program.code, text)
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
		waited := time.Since(r.started)
		if target == nil && waited >= noPort {
			r.say("ready", "it listens on no port of loopback: there are no clients")
			return nil, nil
		}
		if waited >= r.config.Ready {
			return nil, down("the program was not ready after %v at %s: %v", r.config.Ready, target, last)
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

// hook runs the preStop hook, and says how long it took. One that takes longer than the grace goes
// on, as in a container, and is ended with the program.
func (r *rehearsal) hook(ctx context.Context, patience time.Duration) (time.Duration, error) {
	cmd, err := r.program.exec(r.config.Program.PreStop.Exec)
	if err != nil {
		return 0, fmt.Errorf("rehearse: preStop: %w", err)
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

// ending says how the program has ended.
func (r *rehearsal) ending() string {
	p := r.stopped
	if p.signal != 0 {
		return fmt.Sprintf("by %s, exit code %d", signalName(p.signal), p.code)
	}
	return fmt.Sprintf("exit code %d", p.code)
}
