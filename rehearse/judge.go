package rehearse

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// judge turns observations into findings.
func (r *rehearsal) judge() {
	found := map[Code]bool{}
	add := func(code Code, fails bool, format string, args ...any) {
		if !slices.Contains(r.plan.checks, code) && !r.brokenOff {
			return
		}
		found[code] = true
		fails = fails && !slices.Contains(r.plan.lenient, code)
		r.result.Findings = append(r.result.Findings, Finding{Code: code, Fails: fails, Seen: fmt.Sprintf(format, args...)})
	}
	for _, f := range r.found {
		add(f.Code, f.Fails, "%s", f.Seen)
	}
	if r.stopped != nil {
		r.judgeEnd(add)
	}
	if r.traffic != nil && !r.brokenOff {
		r.judgeTraffic(add)
	}
	r.judgeHooks(add)
	r.judgeProbes(add)
	r.judgeSidecars(add)
	slices.SortStableFunc(r.result.Findings, func(a, b Finding) int { return cmp.Or(-compareBools(a.Fails, b.Fails), cmp.Compare(a.Code, b.Code)) })
	slices.SortStableFunc(r.result.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	for _, code := range r.plan.checks {
		if !found[code] && !r.brokenOff && r.looksFor(code) {
			r.result.Passed = append(r.result.Passed, code)
		}
	}
	if r.stopped != nil && (found[ExitCode] || found[NoHandler] || found[BreaksTwice]) {
		r.result.Output = r.stopped.output.lines(10)
	}
}

// looksFor reports whether a check can find something here: some need a kind of client, or a hook,
// a probe or a sidecar.
func (r *rehearsal) looksFor(code Code) bool {
	if code == SidecarKilled && r.notAwaited() {
		return false // the sidecars' turn did not come
	}
	m := meanings[code]
	return (m.needs == nil || m.needs(r.config)) && (!m.traffic || r.traffic != nil && (m.client == "" || r.traffic.had(m.client)))
}

// byRuntime reports whether the Go runtime seems to have ended the program because it has no
// handler for the signal. The kernel ignores the signal by which the runtime then terminates the
// process if that is PID 1. So the process exits with 128 and the signal's number, and before Go
// 1.27 with 2, as after a panic.
func (r *rehearsal) byRuntime() bool {
	p := r.stopped
	if !p.isGo || p.endedAt.Sub(r.signalled) > time.Second+r.lateness() {
		return false
	}
	return p.code == 128+int(r.config.Program.StopSignal) || p.code == 2 && !p.output.contains("goroutine ")
}

// crashed reports whether the program seems to have ended by a fault of its own: by a signal that
// nobody has sent, a panic, or an uncaught error.
func (p *program) crashed(sent syscall.Signal) bool {
	switch {
	case p.signal != 0:
		return p.signal != sent && p.signal != syscall.SIGKILL
	case p.isGo:
		return p.code == 2 && p.output.contains("goroutine ")
	}
	return p.code != 0 && uncaught.MatchString(strings.Join(p.output.lines(100), "\n"))
}

// uncaught matches what Python, Node.js and Ruby write when an exception ends a program.
var uncaught = regexp.MustCompile(`(?m)^Traceback \(most recent call last\):|^Node\.js v\d|^\S+:\d+:in .*\([A-Z][\w:]*\)$`)

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// adder adds a finding.
type adder func(code Code, fails bool, format string, args ...any)

// judgeEnd adds the findings about how the program ended, and when.
func (r *rehearsal) judgeEnd(add adder) {
	c, p := r.config, r.stopped
	ran := r.ranOn > 0
	waited := "when its time was over"
	if r.cutShort {
		waited = fmt.Sprintf("%.0f s after the signal, when the rehearsal ended", r.ranOn.Seconds())
	}
	switch {
	case ran && r.early:
		add(LostEarly, true, "%s came %.2f s after its start, and it ran on %s", signalName(c.Program.StopSignal), r.signalled.Sub(r.started).Seconds(), waited)
	case !ran && !r.again.IsZero() && !p.endedAt.Before(r.again) && p.crashed(c.Program.StopSignal):
		add(BreaksTwice, true, "%s, %.2f s after the second signal", p.ending(), p.endedAt.Sub(r.again).Seconds())
	case ran && r.plan.scenario == OutputStuck && (r.handled || !r.known):
		add(OutputBlocks, false, "it ran on %s", waited)
	case ran && r.known && !r.handled:
		add(NoReaction, true, "it has no handler for %s, and ran on %s", signalName(c.Program.StopSignal), waited)
	case ran && r.givenBack:
		add(NoReaction, true, "its handler for %s only gives the signal back to its default action, which PID 1 does not have, and it ran on %s",
			signalName(c.Program.StopSignal), waited)
	case ran && r.cutShort && r.hung:
		add(TooSlow, false, "it ran on %s: it has not ended in %s either", waited, Delete)
	case ran && r.cutShort:
		add(TooSlow, false, "it ran on %s: --whole-grace shows whether it ends within the grace", waited)
	case ran:
		add(TooSlow, true, "it ran on %s, %v after the signal", waited, r.deadline.Sub(r.signalled))
	case p.signal == c.Program.StopSignal, r.byRuntime():
		add(NoHandler, true, "%s ended it, %s", signalName(c.Program.StopSignal), p.ending())
	case p.code != 0:
		add(ExitCode, false, "%s", p.ending())
	}
	whole := r.deadline.Sub(r.signalled)
	// The advice of Tight names this bound.
	if left := r.deadline.Sub(p.endedAt); !ran && left < min(time.Second, whole/10) {
		add(Tight, false, "%.2f s were left of %v", max(left, 0).Seconds(), whole)
	}
}
