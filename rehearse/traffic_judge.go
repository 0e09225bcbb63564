package rehearse

import (
	"fmt"
	"slices"
)

// judgeTraffic is about what clients met.
func (r *rehearsal) judgeTraffic(add adder) {
	var before, broken, early, under, bad []result
	for _, f := range r.traffic.failed {
		switch {
		case f.end.Before(r.deleted):
			before = append(before, f)
		case f.failure == serverSaid, f.failure == timedOut, f.failure == otherwise:
			bad = append(bad, f)
		case f.client == keepAlive && f.closed():
			under = append(under, f)
		case f.failure == refused:
			// It is certain that one was refused while the endpoint was there only when it knew so then.
			if r.traffic.there(f.end) {
				early = append(early, f)
			}
		case f.client == newConnection && f.closed():
			if r.traffic.there(f.begun) {
				early = append(early, f)
			}
		case f.failure == cut, f.closed():
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
