package rehearse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// judgeTraffic adds the findings about what clients met.
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
			// A refusal certainly happened while the endpoint existed only if the endpoint still existed
			// when the refusal was seen.
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
		{RefusedEarly, early, true, "connections refused or dropped while clients were still routed here"},
		{NotAnswered, bad, true, "requests answered with errors, or not at all"},
		{StreamCut, held[stream], true, "streams cut off"},
		{NoCloseFrame, held[webSocket], true, "WebSockets ended without a close frame"},
		{Resets, held[openConnection], false, "open connections reset"},
	} {
		if len(one.failed) > 0 {
			r.showFailures(one.failed, one.code, one.what)
			add(one.code, one.fails, "%d %s", len(one.failed), one.what)
		}
	}
	r.judgeSlow(add)
	r.showOpen()
	if n := r.result.NotSent; n > 0 {
		r.say("not sent", "or late: %d requests, for which there was no processor, file, port or memory, or too many others were under way; give a smaller rate", n)
	}
	r.judgeKept(add, ClosedUnderRequest, keepAlive, under[keepAlive], "kept connections closed", "Connection: close in the answer before")
	r.judgeKept(add, NoGoAway, keptHTTP2, under[keptHTTP2], "connections of HTTP/2 closed", "a GOAWAY")
}

// judgeSlow is about answers that take much longer than the slowest one before the stop. If there
// was none, there is nothing to compare them with.
func (r *rehearsal) judgeSlow(add adder) {
	var slow []result
	var usual, longest time.Duration
	for _, f := range r.traffic.slow {
		before := r.traffic.tallies[tallied{f.target, f.client}].slowest
		if f.end.Before(r.deleted) || before == 0 || f.took < 10*before {
			continue
		}
		slow, usual, longest = append(slow, f), max(usual, before), max(longest, f.took)
	}
	if len(slow) == 0 {
		return
	}
	r.showFailures(slow, AnswersLate, "requests answered late")
	add(AnswersLate, false, "%d requests took more than a second, or had no answer when the rehearsal ended: the longest %.1f s, and %.3f s before the stop",
		len(slow), longest.Seconds(), usual.Seconds())
}

// showOpen reports which clients were still connected at the end of the rehearsal.
func (r *rehearsal) showOpen() {
	var open []string
	for _, who := range []client{stream, webSocket, openConnection} {
		if n := r.traffic.left[who]; n > 0 {
			open = append(open, fmt.Sprintf("%d x %s", n, who))
		}
	}
	if len(open) > 0 && r.ranOn > 0 {
		r.say("still open", "%s: a program that waits for all its clients waits for these", strings.Join(open, ", "))
	}
}

// judgeKept is about keep-alive connections. A server that closes one without notice hits a request
// sooner or later. How many it has hit here is chance, unless an HTTP/1.1 client was hit again on
// its next connection.
func (r *rehearsal) judgeKept(add adder, code Code, who client, under []result, what, without string) {
	silently := r.traffic.unannounced[who]
	if len(under) == 0 && silently == 0 {
		return
	}
	if len(under) > 0 {
		r.showFailures(under, code, what+" under a request")
	}
	clients := keepAliveClients * len(r.traffic.targets)
	add(code, who == keepAlive && len(under) > clients, "%d %s without %s, %d of them under a request", silently+len(under), what, without, len(under))
}

// showFailures puts failed requests on the timeline, at the time of the first one.
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
		Detail: fmt.Sprintf("the first one: %s, %s", failed[0].client, cmp.Or(failed[0].text, fmt.Sprintf("%.1f s", failed[0].took.Seconds()))),
	})
}
