package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// rehearsal is the rehearsal of one scenario. One goroutine, that of run, decides what happens
// when.
type rehearsal struct {
	config  *Config
	plan    *plan
	program *program // nil before it is started
	traffic *traffic // nil without clients
	result  Result
	began   time.Time     // when the program was started for the first time
	started time.Time     // when it was started last
	startup time.Duration // until it was ready
	second  second
	found   []Finding // by a step

	stopped   *program      // the program as it was stopped; it may have been started again
	grace     int64         // shared by the hook and the program, in seconds
	left      time.Duration // the program's part of the grace
	deleted   time.Time
	gone      time.Time // when the endpoint is removed, zero if it stays
	signalled time.Time
	late      time.Duration // how long this process had waited for a processor by then
	ranOn     time.Duration // how long a program that did not exit ran after the signal
	deadline  time.Time     // when what is left is killed
	handled   bool          // the program has a handler for the signal
	known     bool          // handled is known
	again     time.Time     // when the signal was sent a second time
	early     bool          // the signal came before the program was ready
	brokenOff bool          // the program was not ready: nothing else can be judged
	hung      bool          // it did not exit in an earlier scenario
	givenBack bool          // the program has removed its handler and goes on as before
	cutShort  bool          // a quick rehearsal did not wait for the deadline
	frozen    bool          // it was stopped by SIGSTOP

	noting   sync.Mutex // guards events, hooks and the results of probes
	hooks    []*hookRun // the hooks that were started
	probes   *probes    // of the program; nil before it is started
	probing  probing
	observed *observation // nil before the stop signal
	order    stopOrder    // the stop, once it has begun
	back     time.Time    // when the endpoint is restored, zero for never
	sidecars sidecars

	quiet  quiet
	spoken map[netip.AddrPort]string // the protocol of each port of the program, as a target's scheme
}

// say records an event that happens now.
func (r *rehearsal) say(what, format string, args ...any) {
	r.at(time.Now(), "", what, format, args...)
}

func (r *rehearsal) at(when time.Time, code Code, what, format string, args ...any) {
	r.note(Event{At: when.Sub(r.began), What: what, Detail: fmt.Sprintf(format, args...), Code: code})
}

func (r *rehearsal) note(e Event) {
	r.noting.Lock()
	defer r.noting.Unlock()
	r.result.Events = append(r.result.Events, e)
	if r.config.Watch != nil {
		r.config.Watch(e)
	}
}

// find records a finding of a step.
func (r *rehearsal) find(code Code, fails bool, format string, args ...any) {
	r.found = append(r.found, Finding{Code: code, Fails: fails, Seen: fmt.Sprintf(format, args...)})
}

// errOver ends a scenario about which nothing more can be found out.
var errOver = errors.New("rehearse: over")

// run takes the program through the steps of the scenario.
func (r *rehearsal) run(ctx context.Context) error {
	for _, s := range r.plan.steps {
		if err := s.do(r, ctx); errors.Is(err, errOver) {
			r.brokenOff = true
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// settle collects the results of the clients, after stopping them.
func (r *rehearsal) settle() {
	if r.traffic != nil {
		r.traffic.stop()
		all := r.traffic.counts()
		r.result.Answered, r.result.Failed, r.result.NotSent = all.answered, all.failed, all.notSent
		r.result.Clients = r.traffic.byClient()
	}
}

// clean ends what is still running, and waits for it.
func (r *rehearsal) clean(ctx context.Context) error {
	r.settle()
	if r.program == nil {
		return nil
	}
	r.program.output.release()
	r.probes.stop()
	r.observed.stop()
	if err := r.program.end(ctx); err != nil {
		return fmt.Errorf("rehearse: end the program: %w", err)
	}
	<-r.program.drained
	return nil
}

// skipError is the reason why a scenario cannot be rehearsed with this program.
type skipError string

func (e skipError) Error() string { return "rehearse: " + string(e) }

func skip(format string, args ...any) error { return skipError(fmt.Sprintf(format, args...)) }

// killPatience is how long to wait for the end of killed processes.
const killPatience = 10 * time.Second

// end kills the program with everything that it has started, and waits for its end even if ctx has
// ended.
func (p *program) end(ctx context.Context) error {
	killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	return p.kill(killing)
}

// hasEnded reports whether the program has ended. Then it may be read how.
func (p *program) hasEnded() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// downError is a program that did not become ready, or did not stay so.
type downError struct{ text string }

func (e *downError) Error() string { return "rehearse: " + e.text }

func down(format string, args ...any) error { return &downError{fmt.Sprintf(format, args...)} }

// live lets the program run for a while. It returns an error if the program exits.
func (r *rehearsal) live(ctx context.Context, d time.Duration) error {
	if err := r.wait(ctx, time.Now().Add(d), r.program.exited); err != nil {
		return err
	}
	if r.program.hasEnded() {
		return r.program.endedEarly("the program")
	}
	return nil
}

// endedEarly is the error of a program that has exited before it was stopped.
func (p *program) endedEarly(who string) error {
	select {
	case <-p.drained: // what it has written last is read
	case <-time.After(time.Second): // something that it has started may keep its output open
	}
	text := "it wrote nothing"
	if lines := p.output.lines(10); lines != nil {
		text = "its last lines:\n  " + strings.Join(lines, "\n  ")
	}
	hint := ""
	if p.code == 0 {
		hint = "\na container is over when its first process is: one that goes into the background is to stay in the foreground (nginx -g 'daemon off;')"
	} else if _, all := ImageOwner(0); p.container.Image != nil && !all {
		hint = "\nwithout root its image has one user alone: a program that changes its user, or gives files to another one, is rehearsed as root, or with newuidmap and a range of ids in /etc/subuid and /etc/subgid"
	}
	return down("%s ended by itself after %.2f s with exit code %d, before it was stopped: %s%s",
		who, p.endedAt.Sub(p.startedAt).Seconds(), p.code, text, hint)
}

// ready waits until the program answers, and returns what clients ask for: nothing if the program
// has no port.
func (r *rehearsal) ready(ctx context.Context) ([]*target, error) {
	if err := r.awaitProbes(ctx); err != nil {
		return nil, err
	}
	for last := errors.New("it was not tried"); ; {
		targets, listens := r.targets(ctx)
		if len(targets) > 0 {
			var said string
			if said, last = answers(ctx, targets); last == nil {
				r.say("ready", "%s", said)
				return targets, nil
			}
		}
		waited := time.Since(r.started)
		if still := r.isStill(); !listens && (waited >= r.config.noPort && still || waited >= max(r.config.noPort, noPortBusy)) {
			r.say("ready", "%s", noClients)
			return nil, nil
		}
		if waited >= r.config.Ready {
			return nil, down("the program was not ready after %v at %v", r.config.Ready, last)
		}
		if err := r.live(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// quiet is since when a program has done nothing.
type quiet struct {
	ticks uint64
	since time.Time
}

// isStill reports whether the program has done nothing for a while, so that it will not listen any
// more.
func (r *rehearsal) isStill() bool {
	ticks, busy := r.program.work()
	if busy || ticks != r.quiet.ticks || r.quiet.since.Before(r.started) {
		r.quiet = quiet{ticks, time.Now()}
	}
	return time.Since(r.quiet.since) >= noPort/2
}

// targets returns what clients ask for, none while that is not known. listens reports whether it
// may become known.
func (r *rehearsal) targets(ctx context.Context) (targets []*target, listens bool) {
	given := r.config.targets
	if slices.ContainsFunc(given, func(t *target) bool { return t.Use == Ask }) {
		return given, true
	}
	found, listens := r.foundTarget(ctx)
	if found != nil {
		targets = append([]*target{found}, given...)
	}
	return targets, listens
}

// ending describes how a program has ended.
func (p *program) ending() string {
	if p.signal != 0 {
		return fmt.Sprintf("by %s, exit code %d", signalName(p.signal), p.code)
	}
	return fmt.Sprintf("exit code %d", p.code)
}
