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
		if !found[code] && (r.traffic != nil || !meanings[code].traffic) {
			r.result.Passed = append(r.result.Passed, code)
		}
	}
	if r.stopped != nil && (found[ExitCode] || found[NoHandler]) {
		r.result.Output = r.stopped.output.lines(10)
	}
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

// judgeTraffic is about what clients met.
func (r *rehearsal) judgeTraffic(add adder) {
	var before, broken, early, under, bad []result
	for _, f := range r.traffic.failed {
		there := r.gone.IsZero() || f.begun.Before(r.gone)
		switch {
		case f.end.Before(r.deleted):
			before = append(before, f)
		case f.failure == serverSaid, f.failure == timedOut, f.failure == otherwise:
			bad = append(bad, f)
		case f.client == keepAlive && f.failure == dropped:
			under = append(under, f)
		case f.client == newConnection && f.failure == dropped, f.failure == refused:
			if there {
				early = append(early, f)
			}
		case f.failure == cut, f.failure == dropped:
			broken = append(broken, f)
		}
	}
	for _, one := range []struct {
		code   Code
		failed []result
		fails  bool
		what   string
	}{
		{FailsBefore, before, false, "requests failed before the deletion"},
		{CutOff, broken, true, "requests cut off"},
		{RefusedEarly, early, true, "connections refused or dropped while clients were still sent here"},
		{NotAnswered, bad, true, "requests answered with errors"},
	} {
		if len(one.failed) > 0 {
			r.showFailures(one.failed, one.code, one.what)
			add(one.code, one.fails, "%d %s", len(one.failed), one.what)
		}
	}
	r.judgeKept(under, add)
}

// judgeKept is about connections that clients keep. A server that closes one without having said so
// hits a request sooner or later: how many it has hit here is chance, unless it is all of them.
func (r *rehearsal) judgeKept(under []result, add adder) {
	silently := r.traffic.unannounced
	if len(under) == 0 && silently == 0 {
		return
	}
	if len(under) > 0 {
		r.showFailures(under, ClosedUnderRequest, "kept connections closed under a request")
	}
	add(ClosedUnderRequest, len(under) > keepAliveClients, "%d kept connections closed without Connection: close in the answer before, %d of them under a request",
		silently+len(under), len(under))
}

// showFailures puts requests that failed on the timeline, where the first one did.
func (r *rehearsal) showFailures(failed []result, code Code, what string) {
	first, last := failed[0].end, failed[0].end
	for _, f := range failed {
		if f.end.Before(first) {
			first = f.end
		}
		if f.end.After(last) {
			last = f.end
		}
	}
	if !slices.Contains(r.plan.checks, code) {
		code = ""
	}
	r.note(Event{
		At: first.Sub(r.began), Until: last.Sub(r.began), Code: code,
		What:   fmt.Sprintf("x %d %s", len(failed), what),
		Detail: fmt.Sprintf("the first one: %s, %s", failed[0].client, failed[0].text),
	})
}
