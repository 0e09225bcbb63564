package rehearse

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// judge turns what was seen into findings.
func (r *rehearsal) judge() {
	found := map[Code]bool{}
	add := func(code Code, fails bool, format string, args ...any) {
		if !slices.Contains(r.plan.checks, code) {
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
	if r.traffic != nil {
		r.judgeTraffic(add)
	}
	slices.SortStableFunc(r.result.Findings, func(a, b Finding) int { return cmp.Or(-compareBools(a.Fails, b.Fails), cmp.Compare(a.Code, b.Code)) })
	slices.SortStableFunc(r.result.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	for _, code := range r.plan.checks {
		if !found[code] && r.canFind(code) {
			r.result.Passed = append(r.result.Passed, code)
		}
	}
	if r.stopped != nil && (found[ExitCode] || found[NoHandler]) {
		r.result.Output = r.stopped.output.lines(10)
	}
}

// canFind reports whether there were such clients as a finding needs.
func (r *rehearsal) canFind(code Code) bool {
	m := meanings[code]
	return !m.traffic || r.traffic != nil && (m.client == "" || r.traffic.had(m.client))
}

// byRuntime reports whether it looks as if the runtime of Go had ended the program since it has no
// handler for the signal. Of PID 1 the kernel drops the signal by which the runtime then ends the
// process: it exits with 128 and the signal's number, and before Go 1.27 with 2, as after a panic.
func (r *rehearsal) byRuntime() bool {
	p := r.stopped
	if !p.isGo || p.endedAt.Sub(r.signalled) > time.Second {
		return false
	}
	return p.code == 128+int(r.config.Program.StopSignal) || p.code == 2 && !p.output.contains("goroutine ")
}

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

// judgeEnd is about how the program ended, and when.
func (r *rehearsal) judgeEnd(add adder) {
	c, p := r.config, r.stopped
	ran := r.result.ExitCode < 0
	waited := "when its time was over"
	if r.cutShort {
		waited = fmt.Sprintf("%.0f s after the signal, when the rehearsal ended", min(quickEnough, time.Since(r.signalled)).Seconds())
	}
	switch {
	case ran && r.known && !r.handled:
		add(NoReaction, true, "it has no handler for %s, and ran on %s", signalName(c.Program.StopSignal), waited)
	case ran && r.givenBack:
		add(NoReaction, true, "its handler for %s only gives the signal back to its default action, which PID 1 does not have, and it ran on %s",
			signalName(c.Program.StopSignal), waited)
	case ran && r.cutShort:
		add(TooSlow, false, "it ran on %s: give no --quick to see whether it ends within the grace", waited)
	case ran:
		add(TooSlow, true, "it ran on %s, %v after the signal", waited, r.deadline.Sub(r.signalled))
	case p.signal == c.Program.StopSignal, r.byRuntime():
		add(NoHandler, true, "%s ended it, %s", signalName(c.Program.StopSignal), r.ending())
	case p.code != 0:
		add(ExitCode, false, "%s", r.ending())
	}
	if left := r.deadline.Sub(p.endedAt); !ran && left < min(time.Second, r.deadline.Sub(r.signalled)/10) {
		add(Tight, false, "%.2f s were left of %v", left.Seconds(), r.deadline.Sub(r.signalled))
	}
}
