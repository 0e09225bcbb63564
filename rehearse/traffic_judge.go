package rehearse

import (
	"fmt"
	"slices"
)

// judgeTraffic is about what clients met.
func (r *rehearsal) judgeTraffic(add adder) {
	var before, broken, early, bad []result
	under, held := map[client][]result{}, map[client][]result{}
	for _, f := range r.traffic.failed {
		switch {
		case f.end.Before(r.deleted):
			before = append(before, f)
		case f.failure == serverSaid:
			bad = append(bad, f)
		case f.client == stream, f.client == webSocket, f.client == openConnection:
			held[f.client] = append(held[f.client], f)
		case f.failure == timedOut, f.failure == otherwise:
			bad = append(bad, f)
		case f.client == keepAlive && f.closed(), f.client == keptHTTP2 && f.closed():
			under[f.client] = append(under[f.client], f)
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
		{StreamCut, held[stream], true, "streams cut off"},
		{NoCloseFrame, held[webSocket], true, "WebSockets ended without a close frame"},
		{Resets, held[openConnection], false, "open connections reset"},
	} {
		if len(one.failed) > 0 {
			r.showFailures(one.failed, one.code, one.what)
			add(one.code, one.fails, "%d %s", len(one.failed), one.what)
		}
	}
	r.judgeKept(add, ClosedUnderRequest, under[keepAlive], r.traffic.unannounced[keepAlive], "kept connections closed", "Connection: close in the answer before")
	r.judgeKept(add, NoGoAway, under[keptHTTP2], r.traffic.unannounced[keptHTTP2], "connections of HTTP/2 closed", "a GOAWAY")
}

// judgeKept is about connections that clients keep. A server that closes one without having said so
// hits a request sooner or later: how many it has hit here is chance, unless it is all of them.
func (r *rehearsal) judgeKept(add adder, code Code, under []result, silently int, what, without string) {
	if len(under) == 0 && silently == 0 {
		return
	}
	if len(under) > 0 {
		r.showFailures(under, code, what+" under a request")
	}
	add(code, len(under) > keepAliveClients, "%d %s without %s, %d of them under a request", silently+len(under), what, without, len(under))
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
