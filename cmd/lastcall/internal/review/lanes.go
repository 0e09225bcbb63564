package review

import (
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

// lane is a row of a picture of a scenario: something that goes on for a time.
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

// state is what a bar says.
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

// lasted is how long a scenario took, as far as its events say.
func lasted(r *rehearse.Result) time.Duration {
	var last time.Duration
	for _, e := range r.Events {
		last = max(last, e.At, e.Until)
	}
	return last
}

// lanes are the picture of a scenario: the program, the time in which clients were sent to it, its
// preStop hook, and what went wrong. What the picture has no lane for is in the timeline.
func lanes(r *rehearse.Result) []lane {
	program, endpoint, hook := lane{name: "program"}, lane{name: "endpoint"}, lane{name: "preStop"}
	var wrong []lane
	for _, e := range r.Events {
		switch name := e.What; {
		case strings.HasPrefix(name, "started"):
			program.turn(e.At, starting)
		case strings.HasPrefix(name, "ready"):
			program.turn(e.At, running)
			if r.URL != "" || r.Answered+r.Failed > 0 {
				endpoint.turn(e.At, sentHere)
			}
		case name == "endpoint gone":
			endpoint.end(e.At)
		case name == "preStop":
			hook.turn(e.At, hooking)
		case strings.HasPrefix(name, "preStop "):
			hook.end(e.At)
		case name == "stop signal":
			program.turn(e.At, stopping)
		case strings.HasPrefix(name, "exited"), name == "SIGKILL", name == "killed":
			program.end(e.At)
		}
		if l := codeLevel(r, e.Code); e.Code != "" && l > passed {
			wrong = append(wrong, lane{string(e.Code), []bar{{e.At, max(e.Until, e.At), map[level]state{failure: failing, warning: warned, accepted: known}[l], e.What}}})
		}
	}
	end := lasted(r)
	var all []lane
	for _, one := range append([]lane{program, endpoint, hook}, wrong...) {
		one.end(end)
		if len(one.bars) > 0 {
			all = append(all, one)
		}
	}
	return all
}

// open is a bar that goes on.
const open = time.Duration(-1)

// turn begins a bar, and ends the one before.
func (l *lane) turn(at time.Duration, s state) {
	l.end(at)
	l.bars = append(l.bars, bar{from: at, to: open, state: s, text: string(s)})
}

// end ends the bar that goes on, if one does.
func (l *lane) end(at time.Duration) {
	if n := len(l.bars); n > 0 && l.bars[n-1].to == open {
		l.bars[n-1].to = max(at, l.bars[n-1].from)
	}
}

// step is the distance between the ticks of an axis, so that there are about so many.
func step(total time.Duration, ticks int) time.Duration {
	for unit := 100 * time.Millisecond; ; unit *= 10 {
		for _, d := range []time.Duration{unit, 2 * unit, 5 * unit} {
			if total/d <= time.Duration(ticks) {
				return d
			}
		}
	}
}
