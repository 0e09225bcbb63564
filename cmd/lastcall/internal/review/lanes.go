package review

import (
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

// lane is a row in the picture of a scenario: something that lasts for a time.
type lane struct {
	name string
	bars []bar
}

// bar is a time in which a lane is in one state.
type bar struct {
	from, to time.Duration
	state    state
	text     string
}

// state is the state of a lane in a bar.
type state string

const (
	starting state = "starting"
	running  state = "running"
	stopping state = "stopping"
	sentHere state = "endpoint"
	hooking  state = "hook"
	failing  state = "fail"
	warned   state = "warn"
	known    state = "accepted"
)

// lasted returns how long a scenario took, as far as its events show.
func lasted(r *rehearse.Result) time.Duration {
	var last time.Duration
	for _, e := range r.Events {
		last = max(last, e.At, e.Until)
	}
	return last
}

// lanes returns the picture of a scenario: the program and its sidecars, the time in which clients
// were sent to it, its preStop hook, and what went wrong. The rest is only in the timeline.
func lanes(r *rehearse.Result) []lane {
	all := []*lane{{name: "program"}, {name: "endpoint"}, {name: "preStop"}}
	program, endpoint, hook := all[0], all[1], all[2]
	sidecars := map[string]*lane{}
	for _, e := range r.Events {
		if name := sidecarOf(e); name != "" {
			if sidecars[name] == nil {
				sidecars[name] = &lane{name: name}
				all = append(all, sidecars[name])
			}
			sidecars[name].follow(e, running)
			continue
		}
		program.follow(e, starting)
		switch {
		case strings.HasPrefix(e.What, "ready") && (r.URL != "" || r.Answered+r.Failed > 0), e.What == "endpoint back":
			endpoint.turn(e.At, sentHere)
		case e.What == "endpoint gone":
			endpoint.end(e.At)
		case e.What == "preStop":
			hook.turn(e.At, hooking)
		case strings.HasPrefix(e.What, "preStop "):
			hook.end(e.At)
		}
	}
	for _, e := range r.Events {
		if l := codeLevel(r, e.Code); e.Code != "" && l > passed {
			kind := map[level]state{failure: failing, warning: warned, accepted: known}[l]
			all = append(all, &lane{string(e.Code), []bar{{e.At, max(e.Until, e.At), kind, e.What}}})
		}
	}
	var drawn []lane
	for _, one := range all {
		one.end(lasted(r))
		if len(one.bars) > 0 {
			drawn = append(drawn, *one)
		}
	}
	return drawn
}

// sidecarOf returns the name of the sidecar that an event is about, empty for the program's events.
func sidecarOf(e rehearse.Event) string {
	name, ok := strings.CutPrefix(e.Detail, "sidecar ")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, ":")
	if strings.Trim(name, "0123456789") == "" {
		name = "sidecar " + name // one without a name
	}
	return name
}

// follow draws the life of a program, which begins in a state.
func (l *lane) follow(e rehearse.Event, begins state) {
	switch {
	case strings.HasPrefix(e.What, "started"):
		l.turn(e.At, begins)
	case strings.HasPrefix(e.What, "ready"):
		l.turn(e.At, running)
	case e.What == "stop signal":
		l.turn(e.At, stopping)
	case strings.HasPrefix(e.What, "exited"), e.What == "SIGKILL", e.What == "killed":
		l.end(e.At)
	}
}

// open is the length of a bar that has not ended.
const open = time.Duration(-1)

// turn begins a bar, and ends the one before.
func (l *lane) turn(at time.Duration, s state) {
	l.end(at)
	l.bars = append(l.bars, bar{from: at, to: open, state: s, text: string(s)})
}

// end ends the bar that has not ended, if there is one.
func (l *lane) end(at time.Duration) {
	if n := len(l.bars); n > 0 && l.bars[n-1].to == open {
		l.bars[n-1].to = max(at, l.bars[n-1].from)
	}
}

// step returns the distance between the ticks of an axis, for about the given number of them.
func step(total time.Duration, ticks int) time.Duration {
	for unit := 100 * time.Millisecond; ; unit *= 10 {
		for _, d := range []time.Duration{unit, 2 * unit, 5 * unit} {
			if total/d <= time.Duration(ticks) {
				return d
			}
		}
	}
}
